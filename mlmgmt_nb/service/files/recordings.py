"""Recorded requests of services, read from the files that their replicas write."""

from __future__ import annotations

import datetime as dt
import heapq
import math
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from mlmgmt_nb.contract.recording import RecordedRequest, RecordedRequests
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.scoring.recording.ring import HEADER
from mlmgmt_nb.service.files.recording_files import RecordingFiles

__all__ = ["Recordings"]

_MOST_BYTES = 32 * 2**20
"""Maximum size of the bodies in one response."""


_MTIME_MICROSECONDS = 100_000
"""The clock of a file system may be behind: by 10 ms where its ticks are long, and more on a server of files."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class _Record(msgspec.Struct, array_like=True):
    """A request as `scoring.recording` writes it. Add the clock of its frame to its times."""

    request_id: str
    began: float
    ended: float
    status: int
    request: bytes | None
    answer: bytes | None
    code: str
    redacted: bool


resolve(_Record)
_RECORDS = msgspec.msgpack.Decoder(list[_Record])


class _Frame(NamedTuple):
    """A part of a file, written in one piece."""

    records: int
    dropped: int
    clock: float
    content: memoryview


class _Found(NamedTuple):
    """A record and its deployment, sorted by the time of the record in microseconds."""

    microsecond: int
    request_id: str
    deployment_id: str
    record: _Record


class Recordings:
    """The recorded requests of all services.

    Args:
        files: the files that have them.
    """

    def __init__(self, files: RecordingFiles) -> None:
        self._files = files

    def remove(self, service_id: str) -> None:
        """Remove all files of a service."""
        self._files.remove_all(service_id)

    def clear(self, service_id: str) -> None:
        """Remove the requests that were recorded so far; its replicas continue with new files."""
        for file in self._files.list(service_id):
            self._files.remove(service_id, file.name)

    def prune(self, ages: Mapping[str, float]) -> None:
        """Remove files that are too old. Replicas do this too, but only for services that run.

        Args:
            ages: seconds to keep requests, for all services that exist; files of other services are removed.
        """
        for service_id in list(self._files.services()):
            if service_id not in ages:
                self.remove(service_id)
                continue
            before = time.time() - ages[service_id]
            for file in self._files.list(service_id):
                if file.modified < before:
                    self._files.remove(service_id, file.name)

    def read(
        self, service_id: str, last: int, max_age: float, before: float | None = None, before_id: str = ""
    ) -> RecordedRequests:
        """Return the newest requests.

        Args:
            service_id: the service.
            last: maximum number of requests.
            max_age: maximum age in seconds; older requests are not returned, although their files may still exist.
            before: only requests that arrived before this time.
            before_id: also requests of exactly that time whose id is lower. Replicas may record several at one time.
        """
        oldest = _microseconds(time.time() - max_age)
        end = (math.inf, "") if before is None else (_microseconds(before), before_id)
        newest: list[_Found] = []
        kept = dropped = size = 0
        for file in sorted(self._files.list(service_id), key=lambda file: file.modified, reverse=True):
            modified = _microseconds(file.modified) + _MTIME_MICROSECONDS
            is_needed = len(newest) <= last or modified >= newest[0].microsecond
            for frame in _frames(self._files.read(service_id, file.name) or b""):
                kept, dropped, size = kept + frame.records, dropped + frame.dropped, size + len(frame.content)
                for found in _records(file.name, frame) if is_needed else ():
                    if oldest <= found.microsecond and found[:2] < end:
                        _keep(newest, found, last + 1)
        return _bounded(sorted(newest), last, kept, dropped, size)


def _frames(file: bytes) -> Iterator[_Frame]:
    """Yield the frames of a file up to the first incomplete one."""
    content, place = memoryview(file), 0
    while place + HEADER.size <= len(content):
        size, count, dropped, clock = HEADER.unpack_from(content, place)
        place += HEADER.size
        if place + size > len(content):
            return
        yield _Frame(count, dropped, clock, content[place : place + size])
        place += size


def _records(name: str, frame: _Frame) -> Iterator[_Found]:
    deployment_id = name.split("_")[1]
    try:
        for record in _RECORDS.decode(frame.content):
            yield _Found(_microseconds(record.began + frame.clock), record.request_id, deployment_id, record)
    except msgspec.MsgspecError:  # damaged
        return


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _keep(newest: list[_Found], found: _Found, most: int) -> None:
    """Add a record to a heap of the newest ones."""
    if len(newest) < most:
        heapq.heappush(newest, found)
    elif found[:2] > newest[0][:2]:
        heapq.heapreplace(newest, found)


def _bounded(found: list[_Found], last: int, kept: int, dropped: int, size: int) -> RecordedRequests:
    """Return the newest records that fit into a response, oldest first."""
    taken, room = 0, _MOST_BYTES
    for one in reversed(found[-last:]):
        room -= len(one.record.request or b"") + len(one.record.answer or b"")
        if room < 0 and taken:
            break
        taken += 1
    value = [_response(one) for one in found[len(found) - taken :]]
    return RecordedRequests(value=value, has_more=taken < len(found), kept=kept, dropped=dropped, bytes=size)


def _response(found: _Found) -> RecordedRequest:
    record = found.record
    return RecordedRequest(
        time=_EPOCH + dt.timedelta(microseconds=found.microsecond),
        request_id=record.request_id,
        deployment_id=found.deployment_id,
        status=record.status,
        seconds=round(record.ended - record.began, 6),
        code=record.code,
        request=record.request,
        answer=record.answer,
        redacted=record.redacted,
    )
