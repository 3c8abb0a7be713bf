from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse

@rawhttp
def run(request):
    file = request.files['image']
    return {'name': file.filename, 'size': len(file.read())}
