"""The lines of a container's log, of which the cluster returns a limited number of bytes at a time."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

from mlmgmt_nb.service.compute.kubernetes.api.connection import Connection
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import CONTAINER

__all__ = ["read_lines"]

_USUAL_BYTES = 2**20
_MOST_BYTES = 2**24
"""The bytes of a read that has to return more; a node keeps files of 10 MiB unless it is configured otherwise."""
_LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) (.*)", re.DOTALL)


def read_lines(connection: Connection, pod: str, since: str, *, previous: bool) -> list[tuple[bytes, bytes]]:
    """Return the time and text of lines after a time. A line says so if others are lost.

    Args:
        pod: name of the pod.
        since: time of the last line that is known; empty for all lines.
        previous: read the log of the container that ended, which is not asked again, so all that can be read is.

    Raises:
        ClusterError: the cluster has no such log, or does not respond.
    """
    query: dict[str, Any] = {"container": CONTAINER, "previous": str(previous).lower(), "timestamps": "true"}
    if since:
        query["sinceTime"] = since
    path = f"{connection.path('Pod', pod)}/log"
    found: list[tuple[bytes, bytes]] = []
    data = b""
    for limit in (_MOST_BYTES,) if previous else (_USUAL_BYTES, _MOST_BYTES):
        data = connection.text(path, {**query, "limitBytes": limit})
        if len(data) < limit:
            return list(_newer(data, since.encode()))
        # The node cuts the last line anywhere, also in its time. The next read returns it again.
        found = list(_newer(data[: data.rfind(b"\n") + 1], since.encode()))
        if found and not previous:
            return found
    # What was returned is known, or one line: the cluster selects by whole seconds, and would return it forever.
    last = max([since.encode(), *(time for time, _ in _newer(data, b""))])
    size = f"{_MOST_BYTES >> 20} MiB"
    text = f"[kubernetes] a part of the log is gone: more than {size} follow each other too quickly to be read in parts"
    return [*found, (last if previous else _next_second(last), text.encode())]


def _newer(data: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the time and text of lines after a time. The cluster selects by whole seconds."""
    for line in data.split(b"\n"):
        match = _LINE.fullmatch(line.removesuffix(b"\r"))
        if match is not None and match[1] > last:
            yield match[1], match[2]


def _next_second(time: bytes) -> bytes:
    """Return the beginning of the next second, as nodes write times."""
    given = time.decode()
    begin = dt.datetime.fromisoformat(given).replace(microsecond=0) + dt.timedelta(seconds=1)
    zone = given[19:].lstrip(".0123456789")
    return f"{begin:%Y-%m-%dT%H:%M:%S}.000000000{zone}".encode()
