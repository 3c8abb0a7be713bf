"""Who answers a request: a pure choice between the deployment that serves and its candidate."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import NamedTuple

from mlmgmt_nb.contract.recording import COPY_HEADER
from mlmgmt_nb.service.http.messages import Scope

__all__ = ["Purpose", "Split", "choose", "is_split"]

Purpose = dt.datetime | str
"""Copies of requests are for a mirror, named by its start, or for the canary of a candidate, named by its id."""

_NOT_SCORING = frozenset({"HEAD", "OPTIONS"})
"""Methods that ask about a service instead of scoring."""
_HASH_BYTES = 4
_HASHES = 256**_HASH_BYTES
_COPY_HEADER = COPY_HEADER.encode()


class Split(NamedTuple):
    """The split of requests.

    Attributes:
        old_port, new_port: ports of the deployment that serves and of the candidate, on this machine.
        share: share of the requests that the candidate answers, from 0 to 1.
        header: the header whose values decide, in lower case, so that a caller stays; None to decide by request.
        mirrored: share of the requests whose copies the candidate also answers, from 0 to 1.
        redact: fields whose values are replaced in kept answers.
        compares: whether the deployment that serves also answers copies of the requests of the candidate.
        mirror_since: start of the mirror, which tells its results from those of earlier ones.
        candidate: id of the candidate.
        places: number of requests that the deployment that serves accepts at a time.
    """

    old_port: int
    new_port: int
    share: float
    header: str | None = None
    mirrored: float = 0.0
    redact: tuple[str, ...] = ()
    compares: bool = False
    mirror_since: dt.datetime | None = None
    places: int = 10**6
    candidate: str = ""

    @property
    def purpose(self) -> Purpose:
        """What copies of requests are for."""
        return self.mirror_since or self.candidate


def choose(split: Split, scope: Scope, owed: float) -> tuple[bool, float]:
    """Return whether a request goes to the candidate, and the requests that it is owed afterwards.

    Args:
        owed: the requests that the candidate was owed before, less than 1.
    """
    if not is_split(scope):
        return False, owed
    if split.header is not None:
        name = split.header.encode()
        value = next((value for known, value in scope["headers"] if known == name), b"")
        if value:  # without a value, a request is assigned by itself
            return _hash(value) < split.share * _HASHES, owed
    owed += split.share
    return (True, owed - 1) if owed >= 1 - 1e-9 else (False, owed)


def _hash(value: bytes) -> int:
    """Return a number that is as good as random for any values, which a checksum of similar values is not."""
    return int.from_bytes(hashlib.blake2b(value, digest_size=_HASH_BYTES).digest(), "big")


def is_split(scope: Scope) -> bool:
    """Return whether it is a scoring request of a caller, which one of the two deployments answers.

    Copies always go to the current deployment: a replay compares it with the candidate.
    """
    is_scoring = scope["path"].endswith("/score") and scope["method"] not in _NOT_SCORING
    return is_scoring and all(name != _COPY_HEADER for name, _ in scope["headers"])
