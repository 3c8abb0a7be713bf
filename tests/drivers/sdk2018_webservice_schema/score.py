import json
from azureml.webservice_schema.data_types import DataTypes
from azureml.webservice_schema.sample_definition import SampleDefinition
from azureml.webservice_schema.schema_generation import generate_schema

def run(raw_data):
    return sorted(json.loads(raw_data))
