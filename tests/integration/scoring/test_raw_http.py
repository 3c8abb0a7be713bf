"""Raw HTTP: requests and responses have what Flask's have."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = """
from {package}_request import AMLRequest, rawhttp
from {package}_response import AMLResponse

@rawhttp
def run(request):
    {body}
"""
PACKAGES = ["azureml.contrib.services.aml", "azureml_inference_server_http.api.aml"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = (
    '--edge\r\nContent-Disposition: form-data; name="title"\r\n\r\nA cat\r\n'
    '--edge\r\nContent-Disposition: form-data; name="picture"; filename="cat.txt"\r\n'
    "Content-Type: text/plain\r\n\r\nmeow\r\n--edge--\r\n"
)
MULTIPART = {"Content-Type": "multipart/form-data; boundary=edge"}
JSON = {"Content-Type": "application/json"}
READS: list[tuple[str, str, dict[str, str], Any]] = [
    ("request.method", "", {}, "POST"),
    ("request.args['x']", "", {}, "1"),
    ("request.args.getlist('x')", "", {}, ["1", "2"]),
    ("request.args.get('x', type=int)", "", {}, 1),
    ("request.args.to_dict()", "", {}, {"x": "1", "y": "ü"}),
    ("request.args", "", {}, {"x": "1", "y": "ü"}),
    ("request.form['a']", "a=deep+red&b=2", FORM, "deep red"),
    ("request.form.to_dict()", "a=1&b=2", FORM, {"a": "1", "b": "2"}),
    ("[request.values['a'], request.values['x']]", "a=1", FORM, ["1", "1"]),
    ("request.files['picture'].read().decode()", PARTS, MULTIPART, "meow"),
    ("[request.files['picture'].filename, request.form['title']]", PARTS, MULTIPART, ["cat.txt", "A cat"]),
    ("len(request.files['picture'].read())", PARTS.replace("meow", "m" * 900_000), MULTIPART, 900_000),
    ("request.cookies['session']", "", {"Cookie": "session=abc; other=1"}, "abc"),
    ("request.stream.read().decode()", "abc", {"Content-Type": "x/y"}, "abc"),
    ("request.get_data(as_text=True)", "äbc", {"Content-Type": "x/y"}, "äbc"),
    ("[request.data.decode(), request.data.decode()]", "abc", {"Content-Type": "x/y"}, ["abc", "abc"]),
    ("request.json", "[5]", JSON, [5]),
    ("request.get_json(force=True)", "[5]", {"Content-Type": "x/y"}, [5]),
    ("request.get_json(silent=True)", "[5", JSON, None),
    ("request.json", "[5]", {"Content-Type": "x/y"}, None),
    ("request.is_json", "[5]", JSON, True),
    ("request.mimetype", "", {"Content-Type": "a/b; charset=utf-8"}, "a/b"),
    ("request.content_length", "abc", {"Content-Type": "x/y"}, 3),
    ("request.host.partition(':')[0]", "", {}, "127.0.0.1"),
    ("request.remote_addr", "", {}, "127.0.0.1"),
    ("request.environ['REQUEST_METHOD']", "", {}, "POST"),
    ("request.path", "", {}, "/score"),
    ("request.headers['x-mine']", "", {"X-Mine": "1"}, "1"),
    ("dict(request.headers)['X-Mine']", "", {"X-Mine": "1"}, "1"),
    ("isinstance(request, AMLRequest)", "", {}, True),
]
ANSWERS: list[tuple[str, int, dict[str, str], bytes]] = [
    ("return AMLResponse('hello', 200)", 200, {"content-type": "text/html; charset=utf-8"}, b"hello"),
    ("return AMLResponse(None, 200)", 200, {"content-type": "application/json"}, b"{}"),
    ("return AMLResponse([1], 201, json_str=True)", 201, {"content-type": "application/json"}, b"[1]"),
    ("return AMLResponse(b'x', 200, {'Content-Type': 'a/b; q=1, 2'})", 200, {"content-type": "a/b; q=1, 2"}, b"x"),
    ("return AMLResponse(b'x', 200, {'X-A': '1, 2'})", 200, {"x-a": "1, 2"}, b"x"),
    ("a = AMLResponse('x', 200); a.headers['X-A'] = '1'; return a", 200, {"x-a": "1"}, b"x"),
    ("a = AMLResponse('x', 200); a.mimetype = 'image/png'; return a", 200, {"content-type": "image/png"}, b"x"),
    ("a = AMLResponse('x', 200); a.set_cookie('s', 'abc'); return a", 200, {"set-cookie": "s=abc; Path=/"}, b"x"),
    ("a = AMLResponse('x', 200); a.set_data(a.get_data(as_text=True) * 2); return a", 200, {}, b"xx"),
    ("a = AMLResponse('x', 200); a.status = '202 Later'; return a", 202, {}, b"x"),
    ("a = AMLResponse('x', 200); a.status_code = 404; return a", 404, {"x-ms-run-function-failed": "False"}, b"x"),
    ("return AMLResponse('x', 500, run_function_failed=True)", 500, {"x-ms-run-function-failed": "True"}, b"x"),
    ("return AMLResponse('x', 200, {'X-A': 'ü\\r\\nX-B: 1'})", 500, {}, b""),
    ("return [1]", 200, {"content-type": "application/json"}, b"[1]"),
]


@pytest.mark.parametrize("package", PACKAGES)
def test_requests(package: str, spawn: Any, folder: Any) -> None:
    cases = "\n        ".join(f"lambda: {expression}," for expression, *_ in READS)
    body = f"return {{'value': [\n        {cases}\n    ][int(request.headers['X-Case'])]()}}"
    replica = spawn(folder(HEAD.format(package=package, body=body))).ready()
    for number, (expression, sent, headers, expected) in enumerate(READS):
        own = {**headers, "X-Case": str(number)}
        answer = replica.session.post(f"{replica.url}/score?x=1&x=2&y=%C3%BC", sent.encode(), headers=own, timeout=20)
        assert (answer.status_code, answer.json()) == (200, {"value": expected}), expression


@pytest.mark.parametrize("package", PACKAGES)
def test_responses(package: str, spawn: Any, folder: Any) -> None:
    cases = "\n    ".join(
        f"def case_{n}():\n        {'; '.join(code.split('; '))}" for n, (code, *_) in enumerate(ANSWERS)
    )
    body = f"{cases}\n    return locals()['case_' + request.headers['X-Case']]()"
    replica = spawn(folder(HEAD.format(package=package, body=body))).ready()
    for number, (code, status, headers, content) in enumerate(ANSWERS):
        answer = replica.score("1", headers={"X-Case": str(number)})
        assert answer.status_code == status, code
        assert {**answer.headers, **headers} == dict(answer.headers) or headers.items() <= {
            name.lower(): value for name, value in answer.headers.items()
        }.items(), code
        assert content in answer.content, code


@pytest.mark.parametrize(
    ("expression", "status"), [("request.form['missing']", 400), ("request.json", 400), ("request.args['no']", 400)]
)
def test_bad_requests_blame_the_caller(expression: str, status: int, spawn: Any, folder: Any) -> None:
    replica = spawn(folder(HEAD.format(package=PACKAGES[0], body=f"return {expression}"))).ready()
    assert replica.score("[5", headers=JSON).status_code == status
