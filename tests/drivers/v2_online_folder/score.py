import json
import logging
import os

import joblib
import numpy


def init():
    global model
    model_path = os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'model/sklearn_regression_model.pkl')
    model = joblib.load(model_path)
    logging.info('Init complete')


def run(raw_data):
    logging.info('model 1: request received')
    data = numpy.array(json.loads(raw_data)['data'])
    return (data[:, 0] * model['weight'] + model['bias']).tolist()
