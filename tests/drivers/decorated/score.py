import numpy as np
import pandas as pd
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

frame = pd.DataFrame({"age": [59.0], "name": ["x"]})


@input_schema("data", NumpyParameterType(np.array([[1.5, 2.5]])))
@input_schema("frame", PandasParameterType(frame, enforce_shape=False), optional=True)
@input_schema("split", PandasParameterType(frame, orient="split"), optional=True)
@input_schema("nested", StandardPythonParameterType({"frame": PandasParameterType(frame), "n": 1}), optional=True)
@output_schema(NumpyParameterType(np.array([1.0])))
def run(data, frame=None, split=None, nested=None):
    return {
        "sum": data.sum(),
        "frame": None if frame is None else list(frame.columns),
        "split": split,
        "nested": None if nested is None else str(nested["frame"]["age"].dtype),
    }
