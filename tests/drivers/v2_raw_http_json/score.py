from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse

def init():
    pass

@rawhttp
def run(request: AMLRequest):
    data = request.get_json()
    return AMLResponse(json_str=True, message={'n': data['n'] + 1}, status_code=200)
