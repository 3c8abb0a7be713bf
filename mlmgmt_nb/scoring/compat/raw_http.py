"""Raw HTTP for drivers that ask for it: `@rawhttp`, `AMLRequest`, `AMLResponse`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["RAW_MARK", "AMLRequest", "AMLResponse", "Headers", "rawhttp"]

RAW_MARK = "__mlmgmt_raw_http__"


def rawhttp(run: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a `run` that gets the whole request, of any method, as an `AMLRequest`."""
    setattr(run, RAW_MARK, True)
    return run


class Headers(dict[str, str]):
    """Headers by name in any case."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        for name, value in pairs:
            key = name.title()
            super().__setitem__(key, f"{self[key]}, {value}" if key in self else value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.title())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.title())

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, or the default."""
        return super().get(name.title(), default)


class AMLRequest:
    """A request, with the names that Flask's has.

    Args:
        method: GET, POST, ...
        path: the path of the URL.
        query_string: what stands behind the question mark.
        headers: pairs of name and value.
        data: the body.
    """

    def __init__(
        self, method: str, path: str, query_string: bytes, headers: Iterable[tuple[str, str]], data: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = Headers(headers)
        self.data = data

    @cached_property
    def args(self) -> dict[str, str]:
        """The parameters of the query, the first of each name."""
        pairs = parse_qsl(self.query_string.decode("latin1"), keep_blank_values=True)
        return dict(reversed(pairs))

    @property
    def full_path(self) -> str:
        """The path with the query."""
        return f"{self.path}?{self.query_string.decode('latin1')}"

    @property
    def url(self) -> str:
        """The whole URL, as the caller sees it."""
        query = f"?{self.query_string.decode('latin1')}" if self.query_string else ""
        return f"http://{self.headers.get('Host', '')}{self.path}{query}"

    @property
    def content_type(self) -> str | None:
        """The media type of the body."""
        kind: str | None = self.headers.get("Content-Type")
        return kind

    @property
    def content_length(self) -> int:
        """The size of the body in bytes."""
        return len(self.data)

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is JSON."""
        return "json" in (self.content_type or "")

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return self.get_json()

    def get_data(self, cache: bool = True, as_text: bool = False) -> Any:  # noqa: ARG002 - as Flask's
        """The body as bytes, or as text; it stays readable either way."""
        return self.data.decode() if as_text else self.data

    def get_json(self, force: bool = False, silent: bool = False) -> Any:
        """The body as JSON.

        Args:
            force: also when the media type is another.
            silent: None instead of an error.
        """
        if not (force or self.is_json):
            return None
        try:
            return json.loads(self.data)
        except ValueError:
            if silent:
                return None
            raise

    def __repr__(self) -> str:
        return f"<AMLRequest {self.method} {self.full_path}>"


class AMLResponse:
    """An answer of the driver's own making.

    Args:
        message: the body: bytes, text, or with `json_str` anything that is JSON; None is `{}`.
        status_code: the HTTP status.
        response_headers: headers; a value with commas is sent as several headers.
        json_str: writes the message as JSON.
        run_function_failed: told to the caller in `x-ms-run-function-failed`.
    """

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Mapping[str, str] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        as_json = json_str or message is None
        if as_json:
            message = json.dumps({} if message is None else message)
        self.body = message.encode() if isinstance(message, str) else bytes(message)
        self.status_code = int(status_code)
        kind = "application/json" if as_json else "text/html; charset=utf-8"
        given = [(name, part.strip()) for name, value in (response_headers or {}).items() for part in value.split(",")]
        if not any(name.lower() == "content-type" for name, _ in given):
            given.insert(0, ("Content-Type", kind))
        self.headers = [*given, ("x-ms-run-function-failed", str(run_function_failed))]

    @property
    def data(self) -> bytes:
        """The body."""
        return self.body
