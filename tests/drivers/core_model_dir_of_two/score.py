import os, pickle

def init():
    global model
    model = pickle.load(open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'weights', '2', 'final.pkl'), 'rb'))

def run(raw_data):
    return model
