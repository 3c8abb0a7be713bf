import json, os, pickle
from pathlib import Path

def init():
    global model
    root = Path(os.environ['AZUREML_MODEL_DIR'])
    model = pickle.loads(next(root.rglob('*.pkl')).read_bytes())

def run(raw_data):
    data = json.loads(raw_data)['input_data']['data']
    return [row[0] * model['weight'] + model['bias'] for row in data]
