import numpy as np
from inference_schema.schema_util import get_input_schema, get_supported_versions, is_schema_decorated
from inference_schema.parameter_types.spark_parameter_type import SparkParameterType
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType

@input_schema('data', NumpyParameterType(np.array([1])))
def run(data):
    schema = get_input_schema(run)
    return [is_schema_decorated(run), sorted(schema['properties']), schema['example'], '2.0' in get_supported_versions(run)]
