from azureml.core import Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException
from azureml.core.keyvault import Keyvault
from azureml.core.resource_configuration import ResourceConfiguration
from azureml.core.runconfig import DEFAULT_CPU_IMAGE, RunConfiguration
from azureml.data.data_reference import DataReference
from azureml.pipeline.core import Pipeline, PipelineData
from azureml.pipeline.steps import PythonScriptStep
from azureml.train.estimator import Estimator
from azureml.train.hyperdrive import HyperDriveConfig
from azureml.widgets import RunDetails

def run(raw_data):
    try:
        return Workspace.from_config()
    except ComputeTargetException:
        return None
