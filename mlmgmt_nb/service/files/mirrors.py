"""Pairs of answers recorded by mirrors: one file for each candidate, removed with the candidate."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mlmgmt_nb.contract.traffic import MirroredPair, MirroredPairs

__all__ = ["Mirrors", "size_of"]

_LENGTH = struct.Struct("<I")
_MOST_BYTES = 16 * 2**20
"""Maximum size of the answers in one response."""


class Mirrors:
    """The recorded pairs of all candidates.

    Args:
        folder: folder of the files; created when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, candidate_id: str, pairs: Sequence[MirroredPair]) -> None:
        """Add pairs.

        Raises:
            OSError: they cannot be written.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        parts = [msgspec.msgpack.encode(pair) for pair in pairs]
        with self._file(candidate_id).open("ab", buffering=0) as file:
            before = file.tell()
            content = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
            if file.write(content) != len(content):  # a full disk: a part of a pair would hide all later ones
                file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, candidate_id: str, skip: int) -> MirroredPairs:
        """Return as many pairs as fit into a response.

        Args:
            skip: number of pairs to skip at the beginning.
        """
        value: list[MirroredPair] = []
        room = _MOST_BYTES
        for number, content in enumerate(self._parts(candidate_id)):
            if number < skip:
                continue
            pair = msgspec.msgpack.decode(content, type=MirroredPair)
            room -= size_of(pair)
            if room < 0 and value:
                return MirroredPairs(value=value, has_more=True)
            value.append(pair)
        return MirroredPairs(value=value, has_more=False)

    def remove(self, candidate_id: str) -> None:
        """Remove all pairs of a candidate."""
        self._file(candidate_id).unlink(missing_ok=True)

    def _parts(self, candidate_id: str) -> Iterator[bytes]:
        """Yield the encoded pairs up to the first incomplete one."""
        try:
            file = self._file(candidate_id).open("rb")
        except FileNotFoundError:
            return
        with file:
            while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                content = file.read(length)
                if len(content) < length:
                    return
                yield content

    def _file(self, candidate_id: str) -> Path:
        return self._folder / candidate_id


def size_of(pair: MirroredPair) -> int:
    """Return the size of both answers in bytes."""
    return len(pair.answer) + len(pair.old_answer)
