import os

def run(raw_data):
    root = os.environ['AML_APP_ROOT']
    return [os.getcwd() == root, os.environ['AZUREML_ENTRY_SCRIPT'], os.path.exists(os.path.join(root, 'score.py'))]
