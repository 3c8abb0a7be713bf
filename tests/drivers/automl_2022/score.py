import json
import logging
import os

import numpy as np
import pandas as pd
import joblib

import azureml.automl.core
from azureml.automl.core.shared import logging_utilities, log_server
from azureml.telemetry import INSTRUMENTATION_KEY

from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

data_sample = PandasParameterType(pd.DataFrame({'x': pd.Series([0], dtype='int64')}))
result_sample = StandardPythonParameterType({'Results': NumpyParameterType(np.array([0]))})
log_server.enable_telemetry(INSTRUMENTATION_KEY)
log_server.set_verbosity('INFO')
logger = logging.getLogger('azureml.automl.core.scoring_script')


def init():
    global model, names
    model_path = os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'model.pkl')
    parts = os.path.normpath(model_path).split(os.sep)
    names = parts[-3:-1]
    log_server.update_custom_dimensions({'model_name': parts[-3], 'model_version': parts[-2]})
    try:
        logger.info('Loading model from path.')
        model = joblib.load(model_path)
        logger.info('Loading successful.')
    except Exception as e:
        logging_utilities.log_traceback(e, logger)
        raise


method_sample = StandardPythonParameterType('predict')
sample_global_params = StandardPythonParameterType({'method': method_sample})

@input_schema('Inputs', StandardPythonParameterType({'data': data_sample}))
@input_schema('GlobalParameters', sample_global_params, convert_to_provided_type=False)
@output_schema(result_sample)
def run(Inputs, GlobalParameters={'method': 'predict'}):
    data = Inputs['data']
    return {'Results': (data['x'] * model['weight'] + model['bias']).values.tolist(), 'how': GlobalParameters['method']}
