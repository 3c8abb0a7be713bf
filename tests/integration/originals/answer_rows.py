"""The table of requests: drivers, and what callers send to them.

A group has a driver and the files beside it. Each side runs it in one server. The id of a row is `GROUP: REQUEST`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from tests.integration.scoring.test_raw_http import ANSWERS, PACKAGES, READS
from tests.integration.scoring.test_raw_http import HEAD as RAW

__all__ = ["PAGE", "Group", "Sent", "groups"]

PAGE = "https://app.example.org"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@dataclass(frozen=True)
class Sent:
    """A request."""

    target: str = "/score"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = ""

    @property
    def verb(self) -> str:
        return self.method or ("GET" if self.body is None else "POST")


@dataclass(frozen=True)
class Group:
    """A driver with its requests."""

    source: str
    rows: Mapping[str, Sent]
    files: Mapping[str, str] = field(default_factory=dict)


_TEXT_DRIVER = """
import datetime
import json
import numpy as np
import pandas as pd

def init():
    pass

def run(data):
    return eval(data[1:]) if data.startswith("=") else {"got": data}
"""
_SCHEMA_DRIVER = """
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init():
    pass

@input_schema("x", StandardPythonParameterType(1))
@input_schema("text", StandardPythonParameterType("a"))
@input_schema("rows", StandardPythonParameterType([1]))
def run(x, text="", rows=()):
    if x < 0:
        raise ValueError("negative")
    return [x, text, list(rows)]
"""
_HEADERS_DRIVER = """
def init():
    pass

def run({parameters}):
    names = data.split(",") if data else []
    return {{"is a dict": isinstance(request_headers, dict), "values": [request_headers.get(name) for name in names]}}
"""
_HEADERS_AND_SCHEMA_DRIVER = """
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init():
    pass

@input_schema("data", StandardPythonParameterType("a"))
def run(data, request_headers):
    return [data, request_headers["X-Mine"]]
"""

_RESULTS = [
    *("1", "1.5", "True", "None", "''", "[]", "{}", "[1, 'a', None, 2.5]", "(1, 2)", "{'a': {'b': [1]}}", "{1: 2}"),
    *("'plain text'", "'ü'", "json.dumps([1, 2])", "json.dumps({'a': 1})", "'3'", "'null'", "'[1'", "b'bytes'"),
    *("float('nan')", "[float('inf')]", "2 ** 70", "np.array([1, 2])", "np.float64(1.5)", "np.int64(3)", "{1, 2}"),
    *("[np.float32(0.1)]", "np.array([1, 2]).tolist()", "pd.DataFrame({'a': [1]})"),
    *("pd.DataFrame({'a': [1]}).to_json()", "datetime.date(2020, 1, 2)", "object()", "1 / 0", "{}['no']", "exit(3)"),
    "(_ for _ in ()).throw(OSError('disk'))",
]
_IDS: dict[str, dict[str, str]] = {
    "none": {},
    "request": {"x-request-id": "a"},
    "client": {"x-ms-client-request-id": "b"},
    "old": {"x-ms-request-id": "c"},
    "request and client": {"x-request-id": "a", "x-ms-client-request-id": "b"},
    "request and old": {"x-request-id": "a", "x-ms-request-id": "c"},
    "client and old": {"x-ms-client-request-id": "b", "x-ms-request-id": "c"},
    "all": {"x-request-id": "a", "x-ms-client-request-id": "b", "x-ms-request-id": "c"},
    "100 long": {"x-request-id": "r" * 100, "x-ms-client-request-id": "c" * 100},
    "request too long": {"x-request-id": "r" * 200},
    "client too long": {"x-ms-client-request-id": "c" * 200},
    "a space": {"x-request-id": "not good"},
    "trace": {"TraceId": "t"},
}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_NO_PATHS = ["/score/", "/nothing", "/Score"]
_BODIES = ["", "text", "ü", '{"x": 1}', "[1, 2]", '"quoted"', "1", "{", " 1 ", "a\nb", "\x00"]
_QUERIES = [
    *("", "?x=1", "?x=1&x=2", "?x=a", "?x=[1]", "?x=null", "?x=", "?x", "?x=%C3%BC+b", "?X=1", "?x=1&data=2", "?=1"),
    f"?x={10**30}",
]
_OBJECTS = [
    *('{"x": 4}', '{"x": 4, "text": "b", "rows": [2]}', '{"rows": [2], "x": 4}', '{"x": -1}', '{"x": "no"}', "{}"),
    *('{"text": "b"}', "[4]", "4", "null", "", "{", '{"x": 4} ', '\ufeff{"x": 4}', '{"x": null}'),
    '{"x": 4, "text": null}',
]
_ARGUMENTS = [
    *("", "?x=4", "?x=4&text=b", "?x=4&text=5", "?x=4&rows=[1,2]", "?x=4&rows=1&rows=2", "?x=4&rows=5", "?x=no"),
    *("?x=-1", "?text=b", "?x=4&y=1", "?x=4&x=5", "?x=4&text=%22b%22", "?x=4&text=a&text=b"),
]
_TYPES = ["application/json; charset=utf-8", "text/plain", "application/problem+json", "APPLICATION/JSON", "text/json"]
_VERSIONS = ["", "?version=2", "?version=3", "?version=4"]


def groups() -> dict[str, Group]:
    """Return the table."""
    return {
        "text": Group(_TEXT_DRIVER, _text_rows()),
        "schema": Group(
            _SCHEMA_DRIVER, _schema_rows(), {"swagger2.json": '{"mine": 2}', "swagger3.json": '{"mine": 3}'}
        ),
        "headers": Group(_HEADERS_DRIVER.format(parameters="data, request_headers"), _header_rows()),
        "headers first": Group(_HEADERS_DRIVER.format(parameters="request_headers, data"), _header_rows()),
        "headers and schema": Group(
            _HEADERS_AND_SCHEMA_DRIVER,
            {
                "POST": Sent(body=b'{"data": "b"}', headers={**JSON, "X-Mine": "1"}),
                "POST without the header": Sent(body=b'{"data": "b"}', headers=JSON),
                "GET": Sent("/score?data=b", headers={"X-Mine": "1"}),
                "an argument of that name": Sent(
                    body=b'{"data": "b", "request_headers": 1}', headers={**JSON, "X-Mine": "1"}
                ),
            },
        ),
        "raw requests": Group(*_raw_requests()),
        "raw responses": Group(*_raw_responses()),
    }


def _text_rows() -> dict[str, Sent]:
    return {
        **{f"body {body!r}": Sent(body=body.encode(), headers=TEXT) for body in _BODIES},
        **{f"result {code}": Sent(body=f"={code}".encode(), headers=TEXT) for code in _RESULTS},
        **{f"GET {query}": Sent(f"/score{query}") for query in _QUERIES},
        **{f"ids {name}": Sent(body=b"1", headers=ids) for name, ids in _IDS.items()},
        **{f"ids of a failure {name}": Sent(body=b"=1/0", headers=ids) for name, ids in _IDS.items()},
        **{f"{method} {path}": _call(method, path) for method, path in product(_METHODS, ("/", "/score"))},
        **{f"{method} /swagger.json": _call(method, "/swagger.json") for method in _METHODS[2:]},
        **{f"no path: {method} {path}": _call(method, path) for method, path in product(_METHODS, _NO_PATHS)},
        "bytes that are not UTF-8": Sent(body=b"\xff", headers=TEXT),
        "POST with a query": Sent("/score?x=1", b"1"),
        "no content type": Sent(body=b"1"),
        "a form": Sent(body=b"a=1", headers={"Content-Type": "application/x-www-form-urlencoded"}),
        "a form of parts": Sent(body=b"--e--", headers={"Content-Type": "multipart/form-data; boundary=e"}),
        "Latin-1": Sent(body="ü".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}),
    }


def _call(method: str, path: str) -> Sent:
    return Sent(path, b"1" if method in ("PUT", "PATCH", "POST") else None, method=method)


def _schema_rows() -> dict[str, Sent]:
    return {
        **{f"body {body}": Sent(body=body.encode(), headers=JSON) for body in _OBJECTS},
        **{f"GET {query}": Sent(f"/score{query}") for query in _ARGUMENTS},
        **{f"content type {kind}": Sent(body=b'{"x": 4}', headers={"Content-Type": kind}) for kind in _TYPES},
        "content type none": Sent(body=b'{"x": 4}'),
        **{f"swagger {query}": Sent(f"/swagger.json{query}") for query in _VERSIONS},
        **_pages("POST from", b'{"x": 4}', JSON),
        **_pages("GET from", None, {}),
        **_pages("failure to", b'{"x": -1}', JSON),
        **_pages("preflight of", None, PREFLIGHT, "OPTIONS"),
        "preflight for PUT": Sent(
            method="OPTIONS", headers={"Origin": PAGE, **PREFLIGHT, "Access-Control-Request-Method": "PUT"}
        ),
        "health to our page": Sent("/", headers={"Origin": PAGE}),
    }


def _pages(what: str, body: bytes | None, headers: Mapping[str, str], method: str = "") -> dict[str, Sent]:
    """Return a request of the page that may call, and of others."""
    pages = {"our page": PAGE, "another page": "https://evil.example", "a part of it": "https://app.example"}
    target = "/score" if body or method else "/score?x=4"
    return {f"{what} {who}": Sent(target, body, {**headers, "Origin": page}, method) for who, page in pages.items()}


def _header_rows() -> dict[str, Sent]:
    names = ["X-Mine", "Content-Type", "Host-Name", "x-mine", "Content-Length", "Cookie", "X_Mine", "User-Agent"]
    sent = {"X-Mine": "1", "Content-Type": "a/b", "Cookie": "s=1", "x-other-Name": "2", "User-Agent": "test"}
    return {
        **{name: Sent(body=name.encode(), headers=sent) for name in names},
        "X-Other-Name": Sent(body=b"X-Other-Name", headers=sent),
        "not ASCII": Sent(body=b"X-Mine", headers={"X-Mine": "\xfc"}),
        "nothing sent": Sent(body=b"", headers=sent),
    }


def _raw_requests() -> tuple[str, dict[str, Sent]]:
    cases = "\n        ".join(f"lambda: {expression}," for expression, *_ in READS)
    body = f"return AMLResponse([[\n        {cases}\n    ][int(request.headers['X-Case'])]()], 200, json_str=True)"
    rows = {
        f"{expression}{'' if n < 2 or not sent else ' of ' + sent[:20]}": Sent(
            "/score?x=1&x=2&y=%C3%BC", sent.encode(), {**headers, "X-Case": str(n)}
        )
        for n, (expression, sent, headers, _) in enumerate(READS)
    }
    methods = {f"method {verb}": replace(_call(verb, "/score"), headers={"X-Case": "0"}) for verb in _METHODS}
    return _raw(body), {**rows, **methods}


def _raw_responses() -> tuple[str, dict[str, Sent]]:
    more = [
        "raise ValueError('no')",
        "return request.form['missing']",
        "import werkzeug; werkzeug.exceptions.abort(404, 'no such thing')",
        "import werkzeug; return werkzeug.Response('x', 418)",
        "return AMLResponse('x', 503)",
        "return AMLResponse((part for part in ('a', 'b')), 200)",
        "return AMLResponse('', 204)",
        "return AMLResponse('x', 200, {'Set-Cookie': 'a=1', 'X-A': 'é'})",
    ]
    codes = [code for code, *_ in ANSWERS if "isinstance" not in code] + more
    cases = "\n    ".join(f"def case_{n}():\n        {code}" for n, code in enumerate(codes))
    rows = {code: Sent(body=b"1", headers={"X-Case": str(n)}) for n, code in enumerate(codes)}
    return _raw(f"{cases}\n    return locals()['case_' + request.headers['X-Case']]()"), rows


def _raw(body: str) -> str:
    return f"def init():\n    pass\n{RAW.format(package=PACKAGES[1], body=body)}"
