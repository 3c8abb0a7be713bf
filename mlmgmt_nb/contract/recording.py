"""The recording of requests, an extension: its settings, and the recorded requests."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec
from msgspec import Meta

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import Wire
from mlmgmt_nb.short_repr import ShortRepr

__all__ = [
    "COPY_HEADER",
    "MAX_AGE_SECONDS",
    "MAX_BYTES",
    "RECORDING",
    "RecordedRequest",
    "RecordedRequests",
    "Recording",
]

COPY_HEADER = "x-mlmgmt-copy"
"""Header of requests that are copies, such as `replay`. Drivers with side effects can recognize them by it."""
RECORDING = "recording"
"""Name of the extension in the list that `GET .../extensions` returns."""
MAX_AGE_SECONDS = 7 * 86400
"""Default age after which recorded requests are removed."""
MAX_BYTES = 100_000_000
"""Default maximum size of the recorded requests of a service."""

_Share = Annotated[float, Meta(gt=0, le=1)]
_Name = Annotated[str, Meta(min_length=1)]
_Age = Annotated[int, Meta(ge=60, le=3650 * 86400)]
_Size = Annotated[int, Meta(ge=10**6, le=10**10)]


class Recording(Wire, frozen=True, kw_only=True):
    """The settings of a service for recording requests and answers. Nothing is recorded unless `enabled` is true.

    Attributes:
        enabled: whether requests are recorded.
        sample: recorded share of the requests, above 0 and at most 1 (default: 1).
        redact: names of fields whose values are replaced before requests are written.
        max_age_in_seconds: age after which requests are removed (default: 7 days).
        max_bytes: size above which the oldest requests are removed (default: 100 MB).
    """

    enabled: Annotated[bool | None, Meta(description="Whether requests are recorded.")] = None
    sample: Annotated[_Share | None, Meta(description="Share of the requests; 1 if missing.")] = None
    redact: Annotated[list[_Name] | None, Meta(description="Fields whose values are replaced.")] = None
    max_age_in_seconds: Annotated[_Age | None, Meta(description="Age after which requests are removed.")] = None
    max_bytes: Annotated[_Size | None, Meta(description="Size above which the oldest are removed.")] = None

    def __str__(self) -> str:
        if not self.enabled:
            return "off"
        days, size = self.age / 86400, self.size / 10**6
        share = "all requests" if self.sample in {None, 1} else f"{self.sample:.6g} of the requests"
        without = f", without {', '.join(self.redact)}" if self.redact else ""
        return f"{share}{without}; at most {days:.3g} days and {size:.6g} MB"

    @property
    def age(self) -> int:
        """The age after which requests are removed, in seconds."""
        return MAX_AGE_SECONDS if self.max_age_in_seconds is None else self.max_age_in_seconds

    @property
    def size(self) -> int:
        """The maximum size of the recorded requests, in bytes."""
        return MAX_BYTES if self.max_bytes is None else self.max_bytes


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A recorded request.

    Attributes:
        time: time of its arrival.
        request_id: its id, which is also in the log of the service.
        deployment_id: id of the deployment that answered.
        status: HTTP status of the answer.
        seconds: latency of the answer.
        code: error code, if the answer was an error.
        request: its body; None if it could not be redacted.
        answer: the body of the answer; None if it was sent in parts, or could not be redacted.
        redacted: whether values were replaced or omitted.
    """

    time: dt.datetime
    request_id: str
    deployment_id: str
    status: int
    seconds: float
    code: str = ""
    request: bytes | None = None
    answer: bytes | None = None
    redacted: bool = False


class RecordedRequests(ShortRepr, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Recorded requests of a service.

    Attributes:
        value: the newest requests, in chronological order.
        has_more: whether there are older requests.
        kept: number of all recorded requests.
        dropped: number of requests that were not recorded because there were too many.
        bytes: size of all files.
    """

    value: list[RecordedRequest]
    has_more: bool = False
    kept: int = 0
    dropped: int = 0
    bytes: int = 0


resolve(Recording, RecordedRequests)
