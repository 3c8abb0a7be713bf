from azureml.api.exceptions.BadRequest import BadRequestException

def run(http_body):
    raise BadRequestException('x is missing')
