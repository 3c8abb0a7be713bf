# A wrapped driver by hand: nothing says that the schema file beside it is not for the runtime.
from azureml.api.schema.schemaUtil import load_service_schema, parse_service_input


def init():
    global schema
    schema = load_service_schema("service_schema.json")


def run(http_body):
    return parse_service_input(http_body, schema.input)
