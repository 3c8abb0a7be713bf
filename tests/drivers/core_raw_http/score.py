from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

@rawhttp
def run(request):
    if request.method != 'POST':
        return AMLResponse('bad request', 500)
    reply = {'size': len(request.get_data(False)), 'type': request.mimetype}
    return AMLResponse(reply, 200, json_str=True)
