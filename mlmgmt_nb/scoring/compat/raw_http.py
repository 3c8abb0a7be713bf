"""Raw HTTP for drivers that use it: `@rawhttp`, `AMLRequest`, `AMLResponse`.

Requests and responses are werkzeug's, as in Flask. werkzeug is loaded only if a driver imports this module.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

try:
    from werkzeug.wrappers import Request, Response
except ImportError as error:
    raise ImportError("raw HTTP drivers need werkzeug 2 or newer. Add it to the requirements") from error

from mlmgmt_nb.scoring.compat.messages import RAW_MARK, WholeRequest

__all__ = ["AMLRequest", "AMLResponse", "make_request", "rawhttp"]

if not hasattr(Request, "get_json"):
    raise ImportError("raw HTTP drivers need werkzeug 2 or newer. Change its version in the requirements")


def rawhttp(run: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a `run` that gets the whole request, of any method, as an `AMLRequest`."""
    setattr(run, RAW_MARK, True)
    return run


class AMLRequest(Request):
    """A request with the interface of Flask."""

    max_form_memory_size = None  # the service itself limits the body

    def on_json_loading_failed(self, error: ValueError | None) -> Any:
        """Return None if the body is not declared as JSON, as Flask did when these drivers were written."""
        return None if error is None else super().on_json_loading_failed(error)


class AMLResponse(Response):
    """A response that the driver builds.

    Args:
        message: the body: bytes, text, an iterable of parts, or with `json_str` any value with a JSON form; None is
            `{}`.
        status_code: the HTTP status.
        response_headers: headers; a value with commas becomes several headers.
        json_str: write the message as JSON.
        run_function_failed: sent to the caller in `x-ms-run-function-failed`.
    """

    default_mimetype = "text/html"

    def __init__(
        self,
        message: Any = None,
        status_code: int = 200,
        response_headers: Mapping[str, str] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
        **more: Any,
    ) -> None:
        if json_str or message is None:
            message = json.dumps({} if message is None else message)
            more = {"mimetype": "application/json", **more}
        elif isinstance(message, Mapping):
            raise TypeError(
                f"AMLResponse takes bytes, text or an iterable of them, not {type(message).__name__}. Use json_str=True"
            )
        super().__init__(message, int(status_code), **more)
        self.headers["x-ms-run-function-failed"] = str(run_function_failed)
        for name, value in (response_headers or {}).items():
            if name.lower() == "content-type":
                self.headers[name] = value
                continue
            for part in str(value).split(","):
                self.headers.add(name, part.strip())


def make_request(whole: WholeRequest) -> AMLRequest:
    """Return a request for a driver."""
    host, port = whole.server or ("127.0.0.1", 80)
    address, caller = whole.client or ("", 0)
    gateway: dict[str, Any] = {
        "REQUEST_METHOD": whole.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": whole.path.encode().decode("latin1"),
        "QUERY_STRING": whole.query.decode("latin1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": address,
        "REMOTE_PORT": str(caller),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(whole.data),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in whole.headers:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        joint = "; " if key == "HTTP_COOKIE" else ", "
        gateway[key] = f"{gateway[key]}{joint}{value}" if key in gateway else value
    gateway["CONTENT_LENGTH"] = str(len(whole.data))
    gateway.pop("HTTP_TRANSFER_ENCODING", None)  # the body is complete
    return AMLRequest(gateway)
