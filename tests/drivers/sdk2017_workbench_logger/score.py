from azure.ml.api.schema.dataTypes import DataTypes
from azure.ml.api.schema.sampleDefinition import SampleDefinition
import azure.ml.api.realtime.services as amlo16n
from azureml.assets import get_local_path
from azureml.dataprep.package import run as run_dataflow
from azureml.logging import get_azureml_logger
from azureml.sdk import data_collector

logger = get_azureml_logger()
run_logger = data_collector.current_run()

def init():
    global word
    logger.log('stage', 'init')
    with open(get_local_path('word.txt.link')) as file:
        word = file.read().strip()

def run(http_body):
    run_logger.log('size', len(http_body))
    return [word, len(http_body)]

if __name__ == '__main__':
    inputs = {'http_body': SampleDefinition(DataTypes.STANDARD, 'text')}
    amlo16n.generate_schema(run_func=run, inputs=inputs, filepath='service_schema.json')
