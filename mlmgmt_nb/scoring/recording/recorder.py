"""Record requests and answers: batches of MessagePack, and a thread that writes them to the ring.

Recording cannot delay or fail an answer: it only appends to a buffer, and requests that do not fit are dropped and
counted. Encoding at once is cheaper than keeping the objects, which the garbage collector would traverse.
"""

from __future__ import annotations

import sys
import threading
from queue import Empty, SimpleQueue
from random import random
from time import monotonic, perf_counter, sleep, time
from typing import NamedTuple

import msgspec

from mlmgmt_nb.scoring.recording.redaction import Redactor
from mlmgmt_nb.scoring.recording.ring import Ring
from mlmgmt_nb.scoring.recording.stored_ring import StoredRing

__all__ = ["LARGEST", "Recorder"]

LARGEST = 2**20
"""Requests whose body and answer are larger together are not recorded."""

_MOST_BYTES = 16 * 2**20
_BATCH_BYTES = 2**18
_PRUNE_SECONDS = 1.0
_REPORT_SECONDS = 60.0
_CLOCK_SECONDS = 0.001
"""Smaller changes of the measured clock are not changes of the time."""
_MOST_WORK, _RECORD_WORK = 2**14, 2**9
"""Bytes that are redacted before the event loop may run, and bytes whose redaction costs as much as a record."""
_ARRAY = b"\xdd"
"""Start of a MessagePack array; its length follows in four bytes."""

_Record = tuple[str, float, float, int, bytes | None, bytes | None, str, bool]
"""Request id, `perf_counter()` at start and end, status, body, answer, code of an error, whether it is redacted."""


class _Batch(NamedTuple):
    """Encoded records, their number, and how many were dropped until then."""

    content: bytearray
    records: int
    dropped: int


class Recorder:
    """A recorder of requests. Unless marked otherwise, methods belong to the event loop.

    Args:
        ring: receives them.
        sample: share of the requests, from 0 to 1.
        redactor: removes values by name, if some are to be removed.

    Attributes:
        recorded: number of requests that were written.
    """

    def __init__(self, ring: Ring | StoredRing, sample: float = 1.0, redactor: Redactor | None = None) -> None:
        self.recorded = 0
        self._ring = ring
        self._sample = sample
        self._redactor = redactor
        self._append = msgspec.msgpack.Encoder().encode_into
        self._content = bytearray()
        self._count = 0
        self._dropped = self._lost = self._written_dropped = 0
        # Each is changed by one thread only; their difference is queued.
        self._bytes_in = self._bytes_out = 0
        self._batches: SimpleQueue[_Batch | str | None] = SimpleQueue()
        self._clock = 0.0
        self._pruned = 0.0
        self._failed = -_REPORT_SECONDS
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Number of requests that should have been recorded but were too many or too large."""
        return self._dropped + self._lost

    def add(self, request_id: str, began: float, status: int, body: bytes, answer: bytes | None, code: str) -> None:
        """Record a request that was just answered.

        Args:
            request_id: its id.
            began: `perf_counter()` when it arrived.
            status: HTTP status of the answer.
            body: the body that the driver received.
            answer: the body of the answer; None if it was sent in parts.
            code: code of the error.
        """
        if self._sample < 1.0 and random() >= self._sample:  # noqa: S311 - a sample, not a secret
            return
        content = self._content
        size = len(body) if answer is None else len(body) + len(answer)
        if size > LARGEST or self._bytes_in - self._bytes_out > _MOST_BYTES:
            self._dropped += 1
            return
        self._append((request_id, began, perf_counter(), status, body, answer, code, False), content, -1)
        self._count += 1
        if len(content) > _BATCH_BYTES:
            self.hand_over()

    def hand_over(self) -> None:
        """Queue the requests recorded so far for writing; called several times a second."""
        if self._count:
            self._bytes_in += len(self._content)
            self._batches.put(_Batch(self._content, self._count, self._dropped))
            self._content, self._count = bytearray(), 0

    def begin(self, deployment_id: str) -> None:
        """Attribute further requests to another deployment."""
        self.hand_over()
        self._batches.put(deployment_id)

    def stop(self, seconds: float) -> None:
        """Write the remaining requests; give up after the given seconds."""
        self.hand_over()
        self._batches.put(None)
        self._thread.join(seconds)

    # in the thread

    def _work(self) -> None:
        while True:
            try:
                batch = self._batches.get(timeout=_PRUNE_SECONDS)
            except Empty:
                self._prune()
                continue
            if batch is None or isinstance(batch, str):
                try:
                    self._ring.close() if batch is None else self._ring.begin(batch)
                except OSError as error:
                    self._report(error)
                if batch is None:
                    return
                continue
            self._write(batch)
            self._prune()

    def _write(self, batch: _Batch) -> None:
        content: list[bytes | bytearray] = [_ARRAY + batch.records.to_bytes(4, "big"), batch.content]
        if self._redactor is not None:
            content = [self._redacted(b"".join(content), self._redactor)]
        dropped = batch.dropped + self._lost
        try:
            self._ring.append(content, batch.records, dropped - self._written_dropped, self._current_clock())
        except OSError as error:  # a full disk, or a folder that was removed: scoring goes on
            self._lost += batch.records
            self._report(error)
        else:
            self._written_dropped = dropped
            self.recorded += batch.records
        self._bytes_out += len(batch.content)

    def _current_clock(self) -> float:
        """Return the seconds to add to `perf_counter()` for the time.

        They change only with the time of the machine: requests keep their order, in whatever batches they are.
        """
        clock = _measured_clock()
        if abs(clock - self._clock) > _CLOCK_SECONDS:
            self._clock = clock
        return self._clock

    def _prune(self) -> None:
        if monotonic() - self._pruned > _PRUNE_SECONDS:
            self._pruned = monotonic()
            try:
                self._ring.prune()
            except OSError as error:
                self._report(error)

    @staticmethod
    def _redacted(content: bytes, redactor: Redactor) -> bytes:
        cleaned, work = [], 0
        for record in msgspec.msgpack.decode(content, type=list[_Record]):
            cleaned.append(_without_fields(record, redactor))
            work += _RECORD_WORK + len(record[4] or b"") + len(record[5] or b"")
            if work > _MOST_WORK:
                work = 0
                sleep(0)  # lets the event loop run
        return msgspec.msgpack.encode(cleaned)

    def _report(self, error: OSError) -> None:
        if monotonic() - self._failed > _REPORT_SECONDS:
            self._failed = monotonic()
            sys.stderr.write(f"recording: requests were not recorded: {error.strerror or error}\n")
            sys.stderr.flush()


def _measured_clock() -> float:
    """Return the difference between `time()` and `perf_counter()`.

    Of several measurements, the quickest: this thread may be interrupted between two readings.
    """
    measured = []
    for _ in range(3):
        began, now, ended = perf_counter(), time(), perf_counter()
        measured.append((ended - began, now - (began + ended) / 2))
    return min(measured)[1]


def _without_fields(record: _Record, redactor: Redactor) -> _Record:
    request_id, began, ended, status, body, answer, code, _ = record
    clean_body, of_body = redactor.redact(body or b"")
    clean_answer, of_answer = None, True
    if answer is not None and status < 400:  # messages of errors quote values
        clean_answer, of_answer = redactor.redact(answer)
    return request_id, began, ended, status, clean_body, clean_answer, code, of_body or of_answer
