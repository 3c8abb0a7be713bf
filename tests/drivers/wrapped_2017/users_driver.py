import json

from azureml.api.exceptions.NotFound import NotFoundException
from azureml.api.realtime.services import generate_schema
from azureml.api.schema.dataTypes import DataTypes
from azureml.api.schema.sampleDefinition import SampleDefinition


def init():
    global ready
    ready = True


def run(numbers, scale=1.0):
    if not len(numbers):
        raise NotFoundException("no numbers")
    return json.dumps({"total": float(numbers.sum() * scale), "version": swagger["info"]["version"], "ready": ready})


if __name__ == "__main__":
    import numpy

    inputs = {"numbers": SampleDefinition(DataTypes.NUMPY, numpy.array([1, 2])), "scale": SampleDefinition(DataTypes.STANDARD, 1.0)}
    generate_schema(run_func=run, inputs=inputs, filepath="service_schema.json")
