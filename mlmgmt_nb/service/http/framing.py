"""The head of a request, checked before anything acts on it: one host, one length, one target.

If two programs read one head differently, part of a body can be smuggled in as a request. So an ambiguous head is
refused and its connection closed; everything else is forwarded with the meaning it has here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlmgmt_nb.scoring.http.framing import FRAMING, FramingFault, check_coding, check_connection, check_target
from mlmgmt_nb.service.http.messages import Scope
from mlmgmt_nb.service.http.problems import Problem, bad_field

__all__ = ["TARGET", "check_head", "connection_options", "host_of_origin"]

TARGET = "target"
"""Key in a scope's `state` for the request target as sent."""

_ONCE = FRAMING | {b"authorization", b"content-type", b"origin"}
"""Headers that may occur only once: another program might use the second value instead of the first."""
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.~-]+))(?::[0-9]{0,5})?")
_VERSIONS = frozenset({"1.0", "1.1"})


def check_head(scope: Scope) -> str:
    """Check the head of a request.

    Returns:
        The requested host: in lower case, without port and brackets.

    Raises:
        Problem: 400 for an ambiguous head, 505 for another version of HTTP.
    """
    try:
        if scope["http_version"] not in _VERSIONS:
            raise Problem(505, "HttpVersionNotSupported", "This HTTP version is not supported; use HTTP/1.1.")
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        values = _values(headers)
        _check_length(values, scope["http_version"])
        check_target(scope["state"][TARGET], values.get(b"host", b""))
        return _host(values)
    except FramingFault as fault:
        raise _closing(bad_field(fault.field, fault.message)) from None
    except Problem as problem:
        raise _closing(problem) from None


def _closing(problem: Problem) -> Problem:
    """Return a problem whose response also closes the connection."""
    problem.headers["connection"] = "close"
    return problem


def connection_options(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Return the options of all `Connection` headers, in lower case. They name headers that are not forwarded."""
    given = b",".join(value for name, value in headers if name == b"connection")
    return {option.strip(b" \t").lower() for option in given.split(b",")}


def host_of_origin(origin: str) -> str:
    """Return the host of an `Origin`, in lower case; "" if it is not of the form `SCHEME://HOST[:PORT]`."""
    scheme, separator, authority = origin.lower().partition("://")
    found = _HOST.fullmatch(authority)
    return (found[1] or found[2]) if found and separator and scheme.isalnum() else ""


def _values(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name, after checking those that may occur only once."""
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in values and name in _ONCE:
            raise bad_field(name.decode().title(), "is given more than once; send it once.")
        values[name] = value.strip(b" \t")
    check_connection(value for name, value in headers if name == b"connection")
    return values


def _check_length(values: dict[bytes, bytes], version: str) -> None:
    length, coding = values.get(b"content-length"), values.get(b"transfer-encoding")
    if length is not None and not re.fullmatch(b"[0-9]{1,18}", length):
        raise bad_field("Content-Length", "is not a number of bytes.")
    if coding is not None:
        check_coding(coding, version, has_length=length is not None)


def _host(values: dict[bytes, bytes]) -> str:
    if b"host" not in values:
        raise bad_field("Host", "this header is missing.", "Missing")
    found = _HOST.fullmatch(values[b"host"].decode("latin-1").lower())
    if found is None:
        raise bad_field("Host", "is not a host with an optional port, such as 127.0.0.1:8080.")
    return found[1] or found[2]
