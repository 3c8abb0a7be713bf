# Raw HTTP with an uploaded file, fields, cookies and a query, as for images.
from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request: AMLRequest):
    if request.method == "GET":
        top = request.args.get("top", default=3, type=int)
        return AMLResponse({"top": top, "all": request.args.getlist("tag")}, 200, json_str=True)
    picture = request.files["image"]
    answer = AMLResponse(picture.read()[::-1], 200, {"Content-Type": picture.mimetype})
    answer.headers["X-Name"] = f"{picture.filename}, {request.form.get('title')}"
    answer.set_cookie("seen", request.cookies.get("session", "nobody"))
    return answer
