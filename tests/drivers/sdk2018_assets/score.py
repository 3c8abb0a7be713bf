import json, pickle
from azureml.assets.persistence.persistence import get_model_path

def init():
    global model
    model = pickle.load(open(get_model_path('weights'), 'rb'))

def run(raw_data):
    data = json.loads(raw_data)['data']
    return [row[0] * model['weight'] + model['bias'] for row in data]
