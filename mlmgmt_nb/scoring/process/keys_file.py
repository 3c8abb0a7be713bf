"""The keys of a replica in a cluster: a mounted file with a SHA-256 digest on each line, read again when it changes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["KeysFile"]

_SECONDS = 0.25
_DIGEST = re.compile(r"[0-9a-f]{64}")


class KeysFile:
    """The digests in a file.

    Attributes:
        digests: the digests that were read last.

    Raises:
        ValueError: the file has no digest, or something else. A replica without keys would admit everybody.
        OSError: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.digests = self._read()

    def _read(self) -> list[str]:
        lines = self._path.read_text(encoding="ascii").split()
        if not lines or not all(map(_DIGEST.fullmatch, lines)):
            raise ValueError(f"{self._path}: expected a SHA-256 digest in hexadecimal on each line")
        return lines

    async def watch(self, replace: Callable[[list[str]], object]) -> None:
        """Pass digests that have changed to `replace`. A file that cannot be read or is damaged changes nothing."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                digests = self._read()
            except (OSError, ValueError):
                continue
            if digests != self.digests:
                self.digests = digests
                replace(digests)
