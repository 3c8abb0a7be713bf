import os

def init():
    global found
    found = sorted(name for _, _, names in os.walk(os.environ['AZUREML_MODEL_DIR']) for name in names)

def run(raw_data):
    return found
