import json
import pickle
import numpy as np
import azureml.train.automl
from sklearn.externals import joblib
from azureml.core.model import Model


def init():
    global model
    model_path = Model.get_model_path(model_name='weights')
    model = joblib.load(model_path)


def run(rawdata):
    try:
        data = np.array(json.loads(rawdata)['data'])
        result = data[:, 0] * model['weight'] + model['bias']
    except Exception as e:
        result = str(e)
        return json.dumps({'error': result})
    return json.dumps({'result': result.tolist()})
