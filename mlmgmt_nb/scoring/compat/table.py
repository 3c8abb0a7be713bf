"""Which names each module has that drivers import, and which of our modules has them."""

from __future__ import annotations

__all__ = ["EXPORTS"]

_OURS = "mlmgmt_nb.scoring."
_SCHEMA = _OURS + "schema"
_UTILITIES = _OURS + "compat.schema_util"
_EXCEPTIONS = _OURS + "compat.exceptions"
_RAW = _OURS + "compat.raw_http"
_INFERENCE = _OURS + "compat.inference"

EXPORTS: dict[str, dict[str, list[str]]] = {
    "azureml": {},
    "azureml.api": {},
    "azureml.api.schema": {},
    "azureml.api.schema.dataTypes": {_SCHEMA: ["DataTypes"]},
    "azureml.api.schema.sampleDefinition": {_SCHEMA: ["SampleDefinition", "DataTypes"]},
    "azureml.api.schema.schemaObjects": {_SCHEMA: ["ServiceSchema"]},
    # drivers star-import this one and use json and os from it
    "azureml.api.schema.schemaUtil": {
        _UTILITIES: ["save_service_schema", "load_service_schema", "parse_service_input"],
        _SCHEMA: ["DataTypes", "SampleDefinition", "ServiceSchema"],
        _EXCEPTIONS: ["BadRequestException", "InternalServerException"],
        "json": ["json"],
        "os": ["os"],
        "sys": ["sys"],
    },
    "azureml.api.schema.utilities": {_UTILITIES: ["serialize", "deserialize"]},
    "azureml.api.realtime": {},
    "azureml.api.realtime.services": {_SCHEMA: ["generate_schema"]},
    "azureml.api.realtime.swagger_spec_generator": {_UTILITIES: ["generate_service_swagger"]},
    "azureml.api.exceptions": {},
    "azureml.api.exceptions.ApiException": {_EXCEPTIONS: ["ApiException"]},
    "azureml.api.exceptions.ClientSideException": {_EXCEPTIONS: ["ClientSideException"]},
    "azureml.api.exceptions.ServerSideException": {_EXCEPTIONS: ["ServerSideException"]},
    "azureml.api.exceptions.BadRequest": {_EXCEPTIONS: ["BadRequestException"]},
    "azureml.api.exceptions.Unauthorized": {_EXCEPTIONS: ["UnauthorizedException"]},
    "azureml.api.exceptions.NotFound": {_EXCEPTIONS: ["NotFoundException"]},
    "azureml.api.exceptions.UnsupportedMediaType": {_EXCEPTIONS: ["UnsupportedMediaTypeException"]},
    "azureml.api.exceptions.TooManyRequests": {_EXCEPTIONS: ["TooManyRequestsException"]},
    "azureml.api.exceptions.InternalServerError": {_EXCEPTIONS: ["InternalServerException"]},
    "azureml.api.exceptions.ServiceUnavailable": {_EXCEPTIONS: ["ServiceUnavailableException"]},
    "azureml.datacollector": {_OURS + "collector": ["ModelDataCollector"]},
    "azureml.monitoring": {_OURS + "collector": ["ModelDataCollector"]},
    "azureml.contrib": {},
    "azureml.contrib.services": {},
    "azureml.contrib.services.aml_request": {_RAW: ["AMLRequest", "rawhttp"]},
    "azureml.contrib.services.aml_response": {_RAW: ["AMLResponse"]},
    "azureml_inference_server_http": {},
    "azureml_inference_server_http.api": {},
    "azureml_inference_server_http.api.aml_request": {_RAW: ["AMLRequest", "rawhttp"]},
    "azureml_inference_server_http.api.aml_response": {_RAW: ["AMLResponse"]},
    "inference_schema": {},
    "inference_schema.schema_decorators": {_INFERENCE: ["input_schema", "output_schema"]},
    "inference_schema.parameter_types": {},
    "inference_schema.parameter_types.abstract_parameter_type": {_INFERENCE: ["AbstractParameterType"]},
    "inference_schema.parameter_types.numpy_parameter_type": {_INFERENCE: ["NumpyParameterType"]},
    "inference_schema.parameter_types.pandas_parameter_type": {_INFERENCE: ["PandasParameterType"]},
    "inference_schema.parameter_types.standard_py_parameter_type": {_INFERENCE: ["StandardPythonParameterType"]},
}
