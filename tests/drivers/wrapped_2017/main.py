# What the client of 2017 wrapped around a user's script; our own words, the same imports and steps.
import importlib.util
import os

from azureml.api.exceptions.BadRequest import BadRequestException
from azureml.api.realtime.swagger_spec_generator import generate_service_swagger
from azureml.api.schema.schemaUtil import *

spec = importlib.util.spec_from_file_location("users_driver", "users_driver.py")
users_driver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(users_driver)


def init():
    global schema
    schema = load_service_schema("service_schema.json")
    swagger = generate_service_swagger(
        service_name=os.getenv("SERVICE_NAME", "service"),
        service_schema_file_path="service_schema.json",
        service_version="2",
        service_path_prefix="/prefix/",
    )
    users_driver.swagger = json.loads(json.dumps(swagger))
    users_driver.init()


def run(http_body):
    arguments = parse_service_input(http_body, schema.input)
    try:
        return users_driver.run(**arguments)
    except TypeError as error:
        raise BadRequestException(str(error))
