"""Logs of builds and services, read from any byte offset."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

import requests

from mlmgmt_nb.client.http.transport import Transport, origin
from mlmgmt_nb.contract import Image
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.short_repr import short_repr

__all__ = ["LogPart", "build_log_url", "read_log"]

_BYTES_A_LINE = 400


class LogPart(NamedTuple):
    """Part of a log: its text, and the offset in bytes of the part after it.

    Example:
        >>> part = ws.services.logs("iris")
        >>> new = ws.services.logs("iris", offset=part.next_offset)  # only lines that were written since
        >>> new.next_offset >= part.next_offset
        True
    """

    text: str
    next_offset: int

    def __repr__(self) -> str:
        return short_repr(self)


def build_log_url(base_url: str, image: Image) -> str:
    """Return the URL of the build log of an image, for `Transport.send`.

    Only the server of the account gets the token; a log elsewhere has a token in its URL.
    """
    uri, path = image.image_build_log_uri, urlsplit(base_url).path
    if uri and origin(uri) != origin(base_url):
        return uri
    if uri and urlsplit(uri).path.startswith(path + "/"):
        return uri.partition(path)[2]
    return f"/images/{image.id}/buildLog"


def read_log(transport: Transport, url: str, *, offset: int = 0, tail: int | None = None) -> LogPart:
    """Return a log from an offset.

    Args:
        transport: sends the request.
        url: URL of the log, as `Transport.send` takes it.
        offset: byte to start at; parts that the server no longer keeps are left out.
        tail: number of lines at the end.

    Raises:
        UsageError: the offset or number of lines is negative.
        NotFoundError: the log does not exist.
    """
    if offset < 0 or (tail is not None and tail < 0):
        name = "offset" if offset < 0 else "tail"
        raise UsageError(f"{name} is negative", field=name, fix="Give 0 or more.")
    wanted = None if tail is None else max(1, tail) * _BYTES_A_LINE
    while True:
        span = f"bytes={offset}-" if wanted is None or offset else f"bytes=-{wanted}"
        answer = transport.send("GET", url, headers={"Range": span}, accept={416})
        if answer.status_code == 416:
            return LogPart("", offset)
        start, data = _start(answer, offset), _whole_characters(answer.content)
        if answer.status_code != 206:  # a server without ranges sends the whole log
            data = data[offset:]
            start = offset
        part = _last_lines(LogPart(data.decode(errors="replace"), start + len(data)), tail, whole=start == 0)
        if part is not None:
            return part
        wanted = 4 * (wanted or _BYTES_A_LINE)


def _last_lines(part: LogPart, tail: int | None, *, whole: bool) -> LogPart | None:
    """Return the last lines of a part; None if it may have too few lines."""
    if tail is None:
        return part
    lines = part.text.splitlines(keepends=True)
    if len(lines) <= tail and not whole:
        return None
    return LogPart("".join(lines[-tail:] if tail else []), part.next_offset)


def _start(answer: requests.Response, offset: int) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else offset


def _whole_characters(data: bytes) -> bytes:
    """Return the data without the first bytes of a UTF-8 character whose rest is not written yet."""
    for length in range(1, min(4, len(data) + 1)):
        byte = data[-length]
        if byte & 0xC0 != 0x80:
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[:-length] if needed > length else data
    return data
