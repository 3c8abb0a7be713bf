"""The names of each module that drivers import, and our modules that define them.

`THEIRS=OURS` maps an original name to ours.
"""

from __future__ import annotations

__all__ = ["EXPORTS", "MOVED"]

_OURS = "mlmgmt_nb.scoring."
_SCHEMA = _OURS + "schema"
_UTILITIES = _OURS + "compat.schema_util"
_EXCEPTIONS = _OURS + "compat.exceptions"
_RAW = _OURS + "compat.raw_http"
_INFERENCE = _OURS + "compat.inference"
_TYPES = _OURS + "compat.parameter_types"
_CORE = _OURS + "compat.azureml_core"
_LOGS = _OURS + "compat.logs"
_UNAVAILABLE = _OURS + "compat.unavailable"
_COLLECTOR = _OURS + "collection.collector"
_NO_MODEL = _OURS + "application.model_files"
_HERE = ["get_model_path"]

MOVED = {"sklearn.externals.joblib": "joblib", "sklearn.externals.six": "six"}
"""Modules that moved, with all their submodules: pickles contain the old names."""

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
    "azureml.datacollector": {_COLLECTOR: ["ModelDataCollector"]},
    "azureml.monitoring": {_COLLECTOR: ["ModelDataCollector"]},
    "azureml.sdk": {},
    "azureml.sdk.data_collector": {_COLLECTOR: ["ModelDataCollector"]},
    "azureml.ai": {},
    "azureml.ai.monitoring": {_OURS + "compat.monitoring": ["Collector"]},
    "azureml.ai.monitoring.context": {
        _OURS + "compat.monitoring": ["BasicCorrelationContext", "CorrelationContext"],
    },
    # 2018: the second location of schemas and models
    "azureml.webservice_schema": {},
    "azureml.webservice_schema.sample_definition": {_SCHEMA: ["SampleDefinition", "DataTypes"]},
    "azureml.webservice_schema.data_types": {_SCHEMA: ["DataTypes"]},
    "azureml.webservice_schema.schema_generation": {_SCHEMA: ["generate_schema"]},
    "azureml.webservice_schema.schema_objects": {_SCHEMA: ["ServiceSchema"]},
    "azureml.webservice_schema.schema_util": {
        _UTILITIES: ["save_service_schema", "load_service_schema", "parse_service_input"]
    },
    "azureml.assets": {_CORE: _HERE},
    "azureml.assets.persistence": {_CORE: _HERE},
    "azureml.assets.persistence.persistence": {_CORE: _HERE},
    "azureml.logging": {_LOGS: ["get_azureml_logger"]},
    # azureml-core
    "azureml.core": {
        _CORE: ["VERSION", "__version__=VERSION", "Model", "Run"],
        _UNAVAILABLE: [
            *("ComputeTarget", "ContainerRegistry", "Dataset", "Datastore", "Environment", "Experiment", "Image"),
            *("Keyvault", "ScriptRunConfig", "RunConfiguration", "Webservice", "Workspace"),
        ],
    },
    "azureml.core.model": {
        _CORE: ["Model"],
        _NO_MODEL: ["ModelNotFoundException=ModelNotFoundError"],
        _UNAVAILABLE: ["InferenceConfig"],
    },
    "azureml.core.run": {_CORE: ["Run"], _UNAVAILABLE: ["RunStatus"]},
    "azureml.core.workspace": {_UNAVAILABLE: ["Workspace"]},
    "azureml.core.experiment": {_UNAVAILABLE: ["Experiment"]},
    "azureml.core.dataset": {_UNAVAILABLE: ["Dataset"]},
    "azureml.core.datastore": {_UNAVAILABLE: ["Datastore"]},
    "azureml.core.environment": {_UNAVAILABLE: ["CondaDependencies", "Environment"]},
    "azureml.core.conda_dependencies": {_UNAVAILABLE: ["CondaDependencies"]},
    "azureml.core.compute": {_UNAVAILABLE: ["AksCompute", "AmlCompute", "ComputeTarget"]},
    "azureml.core.image": {_UNAVAILABLE: ["ContainerImage", "Image"]},
    "azureml.core.authentication": {
        _UNAVAILABLE: [
            *("AzureCliAuthentication", "InteractiveLoginAuthentication", "MsiAuthentication"),
            "ServicePrincipalAuthentication",
        ]
    },
    "azureml.core.webservice": {
        _UNAVAILABLE: [
            *("AciWebservice", "AksEndpoint", "AksWebservice", "LocalWebservice", "Webservice"),
        ]
    },
    "azureml.exceptions": {
        _NO_MODEL: ["ModelNotFoundException=ModelNotFoundError"],
        _EXCEPTIONS: [
            *("AzureMLException=ApiException", "UserErrorException=ClientSideException"),
            "WebserviceException=ServerSideException",
        ],
    },
    "azureml.telemetry": {
        _LOGS: ["INSTRUMENTATION_KEY", "get_telemetry_log_handler", "set_diagnostics_collection=do_nothing"],
    },
    # AutoML: logging only
    "azureml.automl": {},
    "azureml.automl.core": {},
    "azureml.automl.core.shared": {},
    "azureml.automl.core.shared.log_server": {
        _LOGS: [
            *("enable_telemetry=do_nothing", "update_custom_dimensions=do_nothing", "set_log_file=do_nothing"),
            *("new_log_context=do_nothing", "set_verbosity", "get_logger"),
        ]
    },
    "azureml.automl.core.shared.logging_utilities": {_LOGS: ["log_traceback", "get_logger"]},
    "azureml.train": {},
    "azureml.train.automl": {_UNAVAILABLE: ["AutoMLConfig"]},
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
    "inference_schema.schema_util": {
        _OURS + "compat.inference_util": [
            *("get_input_schema", "get_output_schema", "get_schemas_dict", "get_supported_versions"),
            "is_schema_decorated",
        ]
    },
    "inference_schema.parameter_types": {},
    "inference_schema.parameter_types.spark_parameter_type": {_TYPES: ["SparkParameterType"]},
    "inference_schema.parameter_types.abstract_parameter_type": {_TYPES: ["AbstractParameterType"]},
    "inference_schema.parameter_types.numpy_parameter_type": {_TYPES: ["NumpyParameterType"]},
    "inference_schema.parameter_types.pandas_parameter_type": {_TYPES: ["PandasParameterType"]},
    "inference_schema.parameter_types.standard_py_parameter_type": {_TYPES: ["StandardPythonParameterType"]},
}
