import json
from azureml.datacollector import ModelDataCollector

def init():
    global inputs
    inputs = ModelDataCollector('model.pkl', identifier='inputs')

def run(http_body):
    inputs.collect(json.loads(http_body))
    return 'noted'
