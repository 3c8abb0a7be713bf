"""Lines of logs for people: replicas write a line of JSON about each request."""

from __future__ import annotations

import msgspec

from mlmgmt_nb.contract.resolving import resolve

__all__ = ["readable", "readable_log"]


def readable(line: str) -> str:
    """Return a log line for display: one about a request as its time, status, milliseconds, id and error.

    Other lines, such as those that the driver printed, are returned unchanged.
    """
    try:
        note = msgspec.json.decode(line, type=_RequestNote)
    except msgspec.DecodeError:
        return line
    path = note.path.rpartition("/")[2]
    what = f" {note.method} /{path}" if (note.method, path) != ("POST", "score") else ""
    failed = f"  {note.code}: {note.message}" if note.code else ""
    return f"{note.time[11:23]}  {note.status}  {note.ms:>8.1f} ms  {note.request}{what}{failed}"


def readable_log(text: str) -> str:
    """Return a log, or whole lines of it, with each line as `readable` returns it."""
    return "".join(readable(line.rstrip("\n")) + "\n" * line.endswith("\n") for line in text.splitlines(keepends=True))


class _RequestNote(msgspec.Struct):
    """A log line about a request, as replicas write it."""

    time: str
    request: str
    method: str
    path: str
    status: int
    ms: float
    code: str = ""
    message: str = ""


resolve(_RequestNote)
