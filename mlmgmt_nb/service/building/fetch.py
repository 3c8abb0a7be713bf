"""Getting the contents of models and assets by their URLs, and unpacking archives."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.files.artifacts import ArtifactStore, DamagedContent, digest_in
from mlmgmt_nb.service.files.home import DISK_FULL

__all__ = ["Fetcher", "file_name", "shown", "unpack"]


def shown(url: str) -> str:
    """Return a URL as it may be logged: without the query, which may hold a signature, and without a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def file_name(url: str, fallback: str) -> str:
    """Return the name of the file that a URL gives: its last segment.

    Raises:
        BuildError: when neither that nor `fallback` can be a file name.
    """
    for name in (unquote(PurePosixPath(urlsplit(url).path).name), fallback):
        if name and name not in {".", ".."} and "/" not in name and "\0" not in name:
            return name
    raise BuildError("BadUrl", f"{shown(url)!r} does not end in the name of a file.")


class Fetcher:
    """Reads contents: from the artifact store where their URL names one that is there, otherwise through fsspec.

    Args:
        schemes: the schemes of URLs that may be read.
        hosts: the hosts that they may name; None for any.
        is_shared: whether others may register URLs; see `download.Sources`.
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
        """Copy a content to a file.

        Raises:
            BuildError: when it cannot be read; `what` says in it whose content it is. Also when the build is cancelled.
            OSError: there is no room for it.
        """
        cancellation.check()
        digest = digest_in(url)
        try:
            if digest and (self._artifacts.path(digest) or self._artifacts.is_damaged(digest)):
                self._artifacts.copy(digest, target, cancellation.check)
            else:
                self._read(url, target, what, cancellation)
                _check_digest(url, target, what)
        except BuildError:
            raise
        except DamagedContent as error:
            name = file_name(url, "its file")
            raise BuildError(
                "DamagedArtifact",
                f"{what}: the content of {name!r} is damaged on the disk of the service (it has not the SHA-256 "
                f"{digest}). Register or upload the same file again, then create the image again.",
            ) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise
            # The storage's own words may repeat the URL, and with it a signature.
            reason = (
                str(error).replace(url, shown(url)).replace(urlsplit(url).query or url, "...") or type(error).__name__
            )
            raise BuildError("UnreadableUrl", f"{what}: {shown(url)} cannot be read: {reason}") from error

    def _read(self, url: str, target: Path, what: str, cancellation: Cancellation) -> None:
        # Loaded when needed: most builds read from the artifact store alone.
        from mlmgmt_nb.service.building.download import Sources, download

        sources = Sources(self._schemes, self._hosts, self._is_shared)
        parts = urlsplit(url)
        sources.check(what, parts.scheme, parts.hostname)
        if parts.scheme in {"http", "https"}:
            with target.open("wb") as sink:
                download(url, sink, what, sources, cancellation)
            return
        if "::" in url:
            raise BuildError("BadUrl", f"{what}: {shown(url)!r} has '::', which chains kinds of storage; give one URL.")
        from fsspec.core import url_to_fs

        storage, path = url_to_fs(url)
        with storage.open(path, "rb") as source, target.open("wb") as sink:
            while chunk := source.read(2**20):
                cancellation.check()
                sink.write(chunk)


def _check_digest(url: str, path: Path, what: str) -> None:
    """Raise BuildError if a URL names a digest, as those of artifacts do, and the bytes are others."""
    if (digest := digest_in(url)) is None:
        return
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise BuildError("DamagedArtifact", f"{what}: what {shown(url)} gives is not what its SHA-256 says.")


def unpack(archive: Path, folder: Path, what: str, limits: Limits, cancellation: Cancellation) -> None:
    """Unpack a `.tar`, `.tar.gz` (or other compression) or `.zip` into a folder, and nowhere else.

    Raises:
        BuildError: it cannot be unpacked, or exceeds a limit; `what` says in it whose archive it is. Also when the
            build is cancelled.
    """
    try:
        extract(archive, folder, limits, check=cancellation.check)
    except ArchiveError as error:
        raise BuildError("BadArchive", f"{what}: the archive {error}.") from error
