from azureml.logging import get_azureml_logger
from azureml.sdk import data_collector

logger = get_azureml_logger()

def init():
    logger.log('stage', 'init')

def run(http_body):
    logger.log('size', len(http_body))
    return len(http_body)
