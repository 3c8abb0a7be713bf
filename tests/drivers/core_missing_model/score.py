from azureml.core.model import Model
from azureml.exceptions import ModelNotFoundException, WebserviceException

def run(raw_data):
    try:
        Model.get_model_path('other')
    except (ModelNotFoundException, WebserviceException) as error:
        return str(error)
