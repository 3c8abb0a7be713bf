import json
from azureml.api.realtime.services import generate_schema
from azureml.api.schema.dataTypes import DataTypes
from azureml.api.schema.sampleDefinition import SampleDefinition

def init():
    pass

def run(http_body):
    return sum(json.loads(http_body))

def main():
    generate_schema(run_func=run, inputs={'http_body': SampleDefinition(DataTypes.STANDARD, 'x')}, filepath='s.json')

if __name__ == '__main__':
    main()
