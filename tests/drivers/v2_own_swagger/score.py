# A driver that brings its own description along, and is called by GET too.
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema


def init():
    pass


@input_schema("zip", StandardPythonParameterType("01234"))
@input_schema("top", StandardPythonParameterType(3), optional=True)
def run(zip, top=3):
    return {"zip": zip, "top": top}
