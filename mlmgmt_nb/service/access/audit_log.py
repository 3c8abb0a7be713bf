"""The audit log: who did what, when, to which resource, and with which result.

The log has one JSON object per line and one file per month, under `logs/audit` of the state folder. Lines are only
appended; nothing in this program changes or removes them. A line is passed to the operating system before the response
is sent, without waiting for the disk: a power cut (not a crash of the service) may lose the last lines.

It records all requests that change something, reads of the keys of a service, and refused requests (401, 403). Of
refused requests, it records a limited number per minute, and the number of the others. No body, header or query is
recorded.
"""

from __future__ import annotations

import base64
import datetime as dt
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from mlmgmt_nb.contract.extensions import AuditEntry
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.problems import bad_field

__all__ = ["AuditLog", "Entry"]

log = logging.getLogger(__name__)

_REFUSALS_A_MINUTE = 100
_BLOCK = 64 * 1024


class Entry(AuditEntry, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A line of the audit log: an entry and its account."""

    account: str = ""


resolve(Entry)


class AuditLog:
    """The audit log of a state folder. Thread-safe; several processes may append at the same time.

    Args:
        folder: folder of the files; created when first needed.
        clock: returns the current time.
    """

    def __init__(self, folder: Path, clock: Callable[[], dt.datetime] = now) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._refusals, self._minute, self._left_out = 0, -1, 0

    def add(self, entry: Entry) -> None:
        """Append an entry. The request has been carried out, so a full disk is only reported in the service log."""
        line = msgspec.json.encode(entry) + b"\n"
        try:
            with self._lock:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path = self._folder / f"{entry.time:%Y-%m}.jsonl"
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(descriptor, line)
                finally:
                    os.close(descriptor)
        except OSError as error:
            log.error("cannot write the audit log (%s); missing entry: %s", error.strerror, line.decode().rstrip())

    def refused(self, entry: Entry) -> None:
        """Append the entry of a refused request, unless there were too many in this minute."""
        with self._lock:
            minute = int(entry.time.timestamp()) // 60
            if minute != self._minute:
                self._minute, self._refusals = minute, 0
            self._refusals += 1
            if self._refusals > _REFUSALS_A_MINUTE:
                self._left_out += 1
                return
            left_out, self._left_out = self._left_out, 0
        self.add(msgspec.structs.replace(entry, not_recorded=left_out))

    def page(self, account: str, filters: Mapping[str, str], size: int, token: str | None) -> tuple[list[Entry], str]:
        """Return entries of an account, newest first, and the token of the next page, or "".

        Args:
            filters: required values of `principalId`, `resourceId` and `action`.
            token: from an earlier page.
        """
        found: list[Entry] = []
        mark = ""
        for place, entry in self._newest_first(*_decoded(token)):
            if entry.account == account and _matches(entry, filters):
                if len(found) == size:
                    return found, mark
                found.append(entry)
                mark = base64.urlsafe_b64encode(place.encode()).decode()
        return found, ""

    def _newest_first(self, month: str, end: int | None) -> Iterator[tuple[str, Entry]]:
        """Yield entries before a position, newest first, each with its position."""
        names = sorted((path.name for path in self._folder.glob("*.jsonl")), reverse=True)
        for name in names:
            if month and name > month:
                continue
            limit = end if name == month else None
            for start, line in _lines_backwards(self._folder / name, limit):
                try:
                    yield f"{name}:{start}", msgspec.json.decode(line, type=Entry)
                except msgspec.DecodeError:
                    log.warning("cannot read a line of the audit log %s, at byte %s", name, start)


def _matches(entry: Entry, filters: Mapping[str, str]) -> bool:
    has = {"principalId": entry.principal_id, "resourceId": entry.resource_id, "action": entry.action}
    return all(has[name] == value for name, value in filters.items())


def _lines_backwards(path: Path, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines before a byte offset, last line first, each with its byte offset."""
    with path.open("rb") as file:
        place = file.seek(0, os.SEEK_END) if end is None else end
        rest = b""
        while place > 0:
            size = min(_BLOCK, place)
            place -= size
            file.seek(place)
            block = file.read(size) + rest
            first, *lines = block.split(b"\n")
            start = place + len(block)
            for line in reversed(lines):
                start -= len(line)
                if line:
                    yield start, line
                start -= 1  # the line break before it
            rest = first
        if rest:
            yield 0, rest


def _decoded(token: str | None) -> tuple[str, int | None]:
    if not token:
        return "", None
    try:
        name, _, start = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii").partition(":")
        if not name.endswith(".jsonl") or not start.isdecimal() or len(start) > 18:
            raise ValueError
        return name, int(start)
    except ValueError:
        raise bad_field("$skipToken", "is not a token of this list; use the one in nextLink.") from None
