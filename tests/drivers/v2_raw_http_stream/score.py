# Raw HTTP whose response is made in parts.
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request):
    lines = request.get_data(as_text=True).splitlines()
    return AMLResponse((f"{line.upper()}\n" for line in lines), 200, {"Content-Type": "text/csv"})
