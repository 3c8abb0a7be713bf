import json, pickle
from azureml.core.model import Model

def init():
    global model
    model = pickle.load(open(Model.get_model_path(model_name='sklearn_mnist.pkl'), 'rb'))

def run(raw_data):
    data = json.loads(raw_data)['data']
    return [row[0] * model['weight'] + model['bias'] for row in data]
