"""The names of each module that drivers import, and our modules that define them.

`THEIRS=OURS` maps an original name to ours; `*` stands for all names.
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
_MONITORING = _OURS + "compat.monitoring"
_NO_MODEL = _OURS + "application.model_files"
_HERE = ["get_model_path", "get_local_path"]
_ANY = {_UNAVAILABLE: ["*"]}
"""A module for training or deployment: any name can be imported from it, and none can be used."""

MOVED = {
    "sklearn.externals.joblib": "joblib",
    "sklearn.externals.six": "six",
    "azure.ml.api": "azureml.api",  # the first half of 2017
}
"""Modules that moved, with all their submodules: pickles contain the old names."""

EXPORTS: dict[str, dict[str, list[str]]] = {
    "azure": {},
    "azure.ml": {},
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
    "azureml.monitoring": {_MONITORING: ["ModelDataCollector=DesignatedCollector"]},
    "azureml.monitoring.modeldatacollector": {_MONITORING: ["ModelDataCollector=DesignatedCollector"]},
    "azureml.sdk": {},
    "azureml.sdk.data_collector": {_COLLECTOR: ["ModelDataCollector"], _LOGS: ["current_run=get_azureml_logger"]},
    "azureml.ai": {},
    "azureml.ai.monitoring": {_MONITORING: ["Collector"]},
    "azureml.ai.monitoring.context": {
        _MONITORING: ["BasicCorrelationContext", "CorrelationContext"],
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
    **dict.fromkeys(
        [
            *("azureml.core.authentication", "azureml.core.compute", "azureml.core.conda_dependencies"),
            *("azureml.core.dataset", "azureml.core.datastore", "azureml.core.environment", "azureml.core.experiment"),
            *("azureml.core.image", "azureml.core.keyvault", "azureml.core.resource_configuration"),
            *("azureml.core.runconfig", "azureml.core.script_run_config", "azureml.core.webservice"),
            *("azureml.core.workspace", "azureml.data", "azureml.data.data_reference", "azureml.data.datapath"),
            *("azureml.dataprep", "azureml.dataprep.package", "azureml.pipeline", "azureml.pipeline.core"),
            *("azureml.pipeline.steps", "azureml.train.dnn", "azureml.train.estimator", "azureml.train.hyperdrive"),
            *("azureml.widgets", "azureml_user", "azureml_user.parallel_run"),
        ],
        _ANY,
    ),
    "azureml.core.compute_target": {_EXCEPTIONS: ["ComputeTargetException=ServerSideException"]},
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
