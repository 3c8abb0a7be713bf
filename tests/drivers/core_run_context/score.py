from azureml.core import Run, Workspace, Experiment
from azureml.core.run import Run as SameRun

def init():
    global run_id
    context = Run.get_context()
    context.log('stage', 'init')
    run_id = context.id

def run(raw_data):
    return [run_id, Run is SameRun]
