import json
from azureml.core.model import Model
import joblib

def init():
    global model
    model = joblib.load(Model.get_model_path('weights'))

def run(raw_data):
    try:
        data = json.loads(raw_data)['data']
        return [row[0] * model['weight'] + model['bias'] for row in data]
    except Exception as error:
        return str(error)
