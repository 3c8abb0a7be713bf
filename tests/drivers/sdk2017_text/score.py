import json, pickle

def init():
    global model
    with open('model.pkl', 'rb') as file:
        model = pickle.load(file)

def run(input_json):
    rows = json.loads(input_json)['data']
    return [row[0] * model['weight'] + model['bias'] for row in rows]
