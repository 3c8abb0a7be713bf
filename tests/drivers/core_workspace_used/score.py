from azureml.core import Workspace

def run(raw_data):
    return Workspace.from_config()
