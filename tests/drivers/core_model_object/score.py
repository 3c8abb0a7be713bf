import pickle
from azureml.core import Model

def init():
    global model
    model = Model(None, name='weights')

def run(raw_data):
    loaded = pickle.load(open(model.download(exist_ok=True), 'rb'))
    return [model.name, model.version, loaded['bias']]
