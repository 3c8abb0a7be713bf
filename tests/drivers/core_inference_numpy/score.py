import numpy as np
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType

input_sample = np.array([[1.0, 2.0]])
output_sample = np.array([3.0])

def init():
    pass

@input_schema('data', NumpyParameterType(input_sample))
@output_schema(NumpyParameterType(output_sample))
def run(data):
    return data.sum(axis=1).tolist()
