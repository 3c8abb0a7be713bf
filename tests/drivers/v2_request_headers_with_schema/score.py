from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

@input_schema('x', StandardPythonParameterType(1))
def run(x, request_headers):
    return [x, request_headers['X-Mine']]
