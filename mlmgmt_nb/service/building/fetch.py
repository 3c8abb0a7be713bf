"""Fetch the contents of models and assets by their URLs, and unpack archives."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.files.artifacts import ArtifactStore, DamagedContent, digest_in
from mlmgmt_nb.service.files.disk import DISK_FULL

__all__ = ["Fetcher", "file_name", "shown", "unpack"]


def shown(url: str) -> str:
    """Return a URL that is safe to log: without query, which may contain a signature, and without password."""
    parts = _parts(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _parts(url: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        BuildError: it is not a URL.
    """
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BuildError("BadUrl", f"A URL of the manifest cannot be read: {error}. Register it again.") from error


def file_name(url: str, fallback: str) -> str:
    """Return the file name in a URL: its last segment.

    Raises:
        BuildError: neither the segment nor `fallback` is a valid file name.
    """
    for name in (unquote(PurePosixPath(_parts(url).path).name), fallback):
        if name and name not in {".", ".."} and "/" not in name and "\0" not in name:
            return name
    raise BuildError("BadUrl", f"{shown(url)!r} does not end in a file name.")


class Fetcher:
    """Reads contents: from the artifact store if it has the content of the URL, otherwise through fsspec.

    Args:
        schemes: allowed URL schemes.
        hosts: allowed hosts; None for any.
        is_shared: whether other users can register URLs; see `download.Sources`.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        schemes: frozenset[str],
        hosts: frozenset[str] | None,
        *,
        is_shared: bool = False,
    ) -> None:
        self._artifacts = artifacts
        self._schemes = schemes
        self._hosts = hosts
        self._is_shared = is_shared

    def fetch(self, url: str, target: Path, what: str, cancellation: Cancellation) -> None:
        """Copy content to a file.

        Raises:
            BuildError: the content cannot be read, or the build was cancelled; the message begins with `what`.
            OSError: the disk is full.
        """
        cancellation.check()
        parts = _parts(url)
        digest = digest_in(url)
        try:
            if digest and (self._artifacts.path(digest) or self._artifacts.is_damaged(digest)):
                self._artifacts.copy(digest, target, cancellation.check)
            else:
                self._read(url, parts, target, what, cancellation)
                _check_digest(url, target, what)
        except BuildError:
            raise
        except DamagedContent as error:
            name = file_name(url, "its file")
            raise BuildError(
                "DamagedArtifact",
                f"{what}: the content of {name!r} is damaged on the disk of the service (its SHA-256 is not "
                f"{digest}). Register or upload the same file again, then create the image again.",
            ) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise
            raise BuildError("UnreadableUrl", f"{what}: {shown(url)} cannot be read: {_reason(error, url)}") from error

    def _read(self, url: str, parts: SplitResult, target: Path, what: str, cancellation: Cancellation) -> None:
        # Imported when needed: most builds only read from the artifact store.
        from mlmgmt_nb.service.building.download import Sources, download

        sources = Sources(self._schemes, self._hosts, self._is_shared)
        sources.check(what, parts.scheme, parts.hostname)
        if not url.lower().startswith(f"{parts.scheme}://"):  # fsspec would read a local file
            raise BuildError("BadUrl", f"{what}: {shown(url)!r} is not a URL of the form {parts.scheme}://...")
        if parts.scheme in {"http", "https"}:
            with target.open("wb") as sink:
                download(url, sink, what, sources, cancellation)
            return
        if "::" in url:
            raise BuildError(
                "BadUrl", f"{what}: {shown(url)!r} contains '::', which chains storages; use a single URL."
            )
        from fsspec.core import url_to_fs

        storage, path = url_to_fs(url)
        with storage.open(path, "rb") as source, target.open("wb") as sink:
            while chunk := source.read(2**20):
                cancellation.check()
                sink.write(chunk)


def _reason(error: Exception, url: str) -> str:
    """Return the message of an error of a storage, without the URL that it may repeat, and with it a signature."""
    return str(error).replace(url, shown(url)).replace(_parts(url).query or url, "...") or type(error).__name__


def _check_digest(url: str, path: Path, what: str) -> None:
    """Raise BuildError if a URL names a digest, as artifact URLs do, and the bytes do not match it."""
    if (digest := digest_in(url)) is None:
        return
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise BuildError(
                "DamagedArtifact",
                f"{what}: the content of {shown(url)} does not match its SHA-256. Upload the file again.",
            )


def unpack(archive: Path, folder: Path, what: str, limits: Limits, cancellation: Cancellation) -> None:
    """Unpack a `.tar`, `.tar.gz` (or other compression) or `.zip` archive into a folder and nowhere else.

    Raises:
        BuildError: the archive cannot be unpacked or exceeds a limit, or the build was cancelled; the message begins
            with `what`.
    """
    try:
        extract(archive, folder, limits, check=cancellation.check)
    except ArchiveError as error:
        raise BuildError("BadArchive", f"{what}: the archive {error}.") from error
