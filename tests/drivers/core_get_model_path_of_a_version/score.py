import json, pickle
from azureml.core.model import Model

def init():
    global versions
    versions = [pickle.load(open(Model.get_model_path('weights', version=n), 'rb'))['weight'] for n in (1, 2)]

def run(raw_data):
    return versions
