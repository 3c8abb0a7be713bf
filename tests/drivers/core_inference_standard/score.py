from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

@input_schema(param_name='param', param_type=StandardPythonParameterType({'name': 'x', 'n': 1}))
def run(param):
    return param['name'] * param['n']
