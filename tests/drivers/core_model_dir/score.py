import json, os
import joblib

def init():
    global model
    model = joblib.load(os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'model.pkl'))

def run(raw_data):
    data = json.loads(raw_data)['data']
    return [row[0] * model['weight'] + model['bias'] for row in data]
