import pandas as pd
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType

@input_schema('data', PandasParameterType(pd.DataFrame({'a': [1], 'b': ['x']})))
def run(data):
    return data.a.sum().item(), ''.join(data.b)
