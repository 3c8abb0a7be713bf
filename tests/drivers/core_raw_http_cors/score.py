from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

@rawhttp
def run(request):
    response = AMLResponse({'ok': True}, 200, json_str=True)
    response.headers['Access-Control-Allow-Origin'] = '*'
    return response
