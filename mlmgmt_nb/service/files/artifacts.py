"""The artifact store: contents of models and assets, addressed by their SHA-256.

An upload may come in parts and resume after a broken connection: received bytes are in `partial/` under the digest.
Content is in the store once it is complete, verified and safely on disk; it never changes afterwards.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlmgmt_nb.service.files.disk import DISK_FULL
from mlmgmt_nb.service.files.part_sync import PartSync
from mlmgmt_nb.service.files.receiving import HashedUploads, receive
from mlmgmt_nb.service.http.messages import Request
from mlmgmt_nb.service.http.problems import Problem

__all__ = ["ArtifactStore", "DamagedContent", "digest_in"]

_BATCH_BYTES = 2**20
_PATTERN = re.compile(r"/artifacts/sha256/([0-9a-f]{64})(?:/([^/?#]*))?(?:[?#]|\Z)")


def digest_in(url: str) -> str | None:
    """Return the digest in the URL of an artifact of any service: the digest identifies the bytes."""
    found = _PATTERN.search(url)
    return found[1] if found else None


class DamagedContent(Exception):  # noqa: N818 - a fault of the disk, not of the program
    """The bytes of the content no longer match its digest."""


class ArtifactStore:
    """The store in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._partial = folder / "partial"
        self._damaged = folder / "damaged"
        self._partial.mkdir(parents=True, exist_ok=True)
        self._hashed = HashedUploads()
        self._syncs = PartSync()

    def path(self, digest: str) -> Path | None:
        """Return the file with this content, or None."""
        path = self._final_path(digest)
        return path if path.exists() else None

    def copy(self, digest: str, target: Path, check: Callable[[], None]) -> None:
        """Copy content to a file, and verify its digest on the way.

        Damaged content is set aside: it can be uploaded again, which repairs everything that refers to it.

        Args:
            check: called repeatedly; raises to stop the copy.

        Raises:
            DamagedContent: the content is damaged, or was found to be damaged earlier.
            FileNotFoundError: the content does not exist.
        """
        if self.is_damaged(digest):
            raise DamagedContent(digest)
        found = hashlib.sha256()
        with self._final_path(digest).open("rb") as source, target.open("wb") as sink:
            while chunk := source.read(_BATCH_BYTES):
                check()
                found.update(chunk)
                sink.write(chunk)
        if found.hexdigest() != digest:
            self._set_aside(digest)
            raise DamagedContent(digest)

    def is_damaged(self, digest: str) -> bool:
        """Return whether content was found to be damaged and has not been uploaded again since."""
        return not self._final_path(digest).exists() and (self._damaged / digest).exists()

    def _set_aside(self, digest: str) -> None:
        self._damaged.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            self._final_path(digest).replace(self._damaged / digest)

    def touch(self, digest: str) -> None:
        """Record that a client has seen this content and may be about to refer to it."""
        with suppress(FileNotFoundError):
            os.utime(self._final_path(digest))

    def offset(self, digest: str) -> int:
        """Return the number of received bytes of an upload."""
        try:
            return (self._partial / digest).stat().st_size
        except FileNotFoundError:
            return 0

    async def append(self, digest: str, offset: int, total: int, request: Request) -> int:
        """Add the body of a request to an upload; return the number of received bytes.

        Raises:
            Problem: 409 when `offset` is not the current offset, or another upload of these bytes is in progress; 422
                when the complete content has another digest; 507 when the disk is full, or does not work. Received
                bytes are kept, except for 422 and a disk that does not work.
            ConnectionResetError: the client disconnected.
        """
        try:
            with self._locked(digest):
                here = self.offset(digest)
                if offset != here:
                    raise Problem(
                        409,
                        "WrongOffset",
                        f"The offset is wrong; continue the upload at byte {here}.",
                        headers={"upload-offset": str(here)},
                    )
                with (self._partial / digest).open("ab", buffering=0) as file:
                    return await self._receive(digest, file.fileno(), total, request)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise Problem(
                507,
                "DiskFull",
                "The disk of the service is full. Received bytes are kept: free some space, then continue the upload.",
                headers={"upload-offset": str(self.offset(digest))},
            ) from error

    @contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        """Prevent other threads, and processes that share the folder, from writing these bytes at the same time."""
        partial = self._partial / digest
        descriptor = os.open(partial, os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # An upload that was just completed no longer has this name.
            if not partial.exists() or not os.path.samestat(os.fstat(descriptor), partial.stat()):
                raise BlockingIOError
            yield
        except BlockingIOError:
            raise Problem(
                409,
                "UploadUnderWay",
                "Another upload of these bytes is in progress; try again later.",
                headers={"retry-after": "1"},
            ) from None
        finally:
            os.close(descriptor)

    async def _receive(self, digest: str, descriptor: int, total: int, request: Request) -> int:
        """Append to the file of an upload and complete it, if that was the rest; return how many bytes it has."""
        sha256 = self._hashed.resume(digest, descriptor)
        try:
            await receive(request, descriptor, sha256, total)
        finally:
            if sha256 is not None:
                self._hashed.keep(digest, sha256, descriptor)
        await self._finish_sync(digest)
        arrived = os.fstat(descriptor).st_size
        if arrived < total:
            self._syncs.start(digest, descriptor)
        else:
            found = self._hashed.resume(digest, descriptor)
            await asyncio.to_thread(self._complete, digest, None if found is None else found.hexdigest())
        return arrived

    async def _finish_sync(self, digest: str) -> None:
        """Wait until earlier parts are on the disk; discard the upload if they cannot be written."""
        try:
            await self._syncs.finish(digest)
        except OSError as error:
            (self._partial / digest).unlink(missing_ok=True)
            raise Problem(
                507,
                "DiskError",
                f"The disk of the service did not keep the upload: {error.strerror or error}. Upload it again; "
                "check the disk if it repeats.",
                headers={"upload-offset": "0"},
            ) from error

    def _complete(self, digest: str, found: str | None) -> None:
        """Move an upload to its place.

        Args:
            found: the digest of its bytes, if they were hashed as they arrived.
        """
        partial = self._partial / digest
        with partial.open("rb") as file:
            if (found or hashlib.file_digest(file, "sha256").hexdigest()) != digest:
                partial.unlink()
                raise Problem(
                    422, "DigestMismatch", "The bytes do not match the digest and were discarded. Upload them again."
                )
            os.fsync(file.fileno())
        whole = self._final_path(digest)
        whole.parent.mkdir(exist_ok=True)
        partial.chmod(0o400)
        partial.replace(whole)
        (self._damaged / digest).unlink(missing_ok=True)
        for folder in (whole.parent, self._folder):
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def _final_path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest
