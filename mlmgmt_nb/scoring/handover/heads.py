"""Plain heads: requests that a replica answers as the front door does, in front of a body whose end is known.

Everything else (other paths, `Origin`, chunked bodies, repeated headers, a head in two parts) is left to the front
door, which reads it strictly.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["PlainHead", "plain_head"]

_HEAD = re.compile(
    rb"(?:POST|GET) /api/v1/service/([a-z0-9.-]+)/(?:score|swagger\.json)(?:\?[!-\"$-~]*)? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9_-]+:[^\r\n\0]*\r\n)+)\r\n"
)
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
_LEFT_TO_THE_FRONT_DOOR = frozenset(
    (b"origin", b"expect", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_LARGEST = 65536
"""Maximum bytes of a head that the front door accepts."""
_MOST_KNOWN = 256
_LARGEST_KNOWN = 2048
_known: dict[bytes, PlainHead | None] = {}
"""Results by head: callers repeat theirs. They contain keys, so they must not be logged."""


class PlainHead(NamedTuple):
    """A plain head.

    Attributes:
        service: the service in its path.
        size: number of its bytes, including the empty line.
        body: number of bytes of the body after it.
    """

    service: bytes
    size: int
    body: int


def plain_head(data: bytes) -> PlainHead | None:
    """Return the plain head that the data begins with; None if the head is incomplete or not plain."""
    size = data.find(b"\r\n\r\n") + 4
    if not 4 <= size <= _LARGEST:
        return None
    head = data[:size]
    try:
        return _known[head]
    except KeyError:
        found = _parse(head)
    if size <= _LARGEST_KNOWN:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[head] = found
    return found


def _parse(head: bytes) -> PlainHead | None:
    found = _HEAD.fullmatch(head)
    if found is None:
        return None
    headers = [line.partition(b":") for line in found[2].splitlines()]
    values = {name.lower(): value.strip(b" \t") for name, _, value in headers}
    length = values.get(b"content-length", b"0")
    is_plain = (
        len(values) == len(headers)
        and _HOST.fullmatch(values.get(b"host", b""))
        and not values.keys() & _LEFT_TO_THE_FRONT_DOOR
        and values.get(b"connection", b"close").lower() in {b"close", b"keep-alive"}
        and re.fullmatch(b"[0-9]{1,18}", length)
    )
    return PlainHead(found[1], len(head), int(length)) if is_plain else None
