"""Extract archives by one rule for every format, independent of the filters of `tarfile`.

Regular files and folders are written first, into real folders only, so that no link is ever written through. Links
are made last, and each must lead to a place inside: its target is followed component by component on the disk, as the
system follows it. Members, bytes, the ratio to the archive's size, and the length and depth of paths are bounded.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from mlmgmt_nb.archives.members import ArchiveError, Member, MemberReader, members_of, tar_members
from mlmgmt_nb.archives.paths import components, is_target, leads_inside, links_in, shown

__all__ = ["ArchiveError", "Limits", "Member", "extract", "extract_tar", "first_file", "read_tar"]

_CHUNK = 2**18
_RATIO_FLOOR = 64 * 2**20
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither this nor modes; O_EXCL alone refuses a link there
_HAS_MODES = hasattr(os, "fchmod")
"""Archives below this size are exempt from the ratio: small files of zeros are not a bomb."""
_CLASHES = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EMLINK}
)
"""Disk errors that the names and links in an archive cause."""
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    LookupError,  # a header that ends too early
    NotImplementedError,  # a compression method that Python does not support
    OverflowError,
    RecursionError,
    RuntimeError,
    ValueError,
)
"""Errors that the standard library raises for damaged or malicious archives."""


@dataclass(frozen=True)
class Limits:
    """Limits for an archive.

    Attributes:
        members: maximum number of files, folders and links.
        bytes: maximum extracted bytes.
        ratio: maximum extracted bytes for each byte of the archive, beyond 64 MiB.
    """

    members: int = 100_000
    bytes: int = 50 * 2**30
    ratio: int = 200

    @classmethod
    def of_disk(cls, folder: Path) -> Limits:
        """Return the limits for a trusted archive that we wrote: the free disk space."""
        return cls(members=10_000_000, bytes=shutil.disk_usage(folder).free)


def extract(
    archive: Path,
    folder: Path,
    limits: Limits = Limits(),
    *,
    check: Callable[[], None] = lambda: None,
    mode_of: Callable[[int], int] | None = None,
    may_leave: Callable[[str], bool] = lambda _: False,
) -> None:
    """Extract a tar archive, compressed or not, or a zip archive into a folder and nowhere else.

    Args:
        folder: created if it does not exist. After an error it may contain a part of the archive.
        check: called repeatedly; raises to stop the extraction.
        mode_of: maps the mode in the archive to the mode of the file (default: 0644, or 0755 if it is executable).
        may_leave: returns whether the link of this name may lead outside.

    Raises:
        ArchiveError: the archive is damaged, encrypted or not an archive, or has a member that is not allowed.
        OSError: the archive cannot be read, or the folder cannot be written.
    """
    size = archive.stat().st_size
    extraction = _Extraction(folder, limits, size, check, mode_of or _shared_mode, may_leave)
    extraction.run(lambda spend: members_of(archive, spend))


def extract_tar(stream: BinaryIO, folder: Path, limits: Limits) -> None:
    """Extract an uncompressed tar archive in one pass, from beginning to end.

    Raises:
        ArchiveError, OSError: as `extract`.
    """
    extraction = _Extraction(folder, limits, None, lambda: None, _shared_mode, lambda _: False)
    extraction.run(lambda spend: tar_members(stream, spend))


def read_tar(stream: IO[bytes], spend: Callable[[int], None], use: Callable[[Iterator[Member]], None]) -> None:
    """Read an uncompressed tar archive to its end, without writing anything.

    Args:
        stream: an archive whose digest the caller checks, so that it may lack its end-of-archive marker.
        spend: called with the number of bytes of each read; raises to stop.
        use: called with the members; reads the contents that it needs.

    Raises:
        ArchiveError: the archive is damaged.
    """
    with _archive_errors():
        use(tar_members(stream, spend, needs_end=False))
        while chunk := stream.read(_CHUNK):
            spend(len(chunk))


def first_file(archive: Path, most: int) -> tuple[str, bytes] | None:
    """Return the name and the content of the first member if it is a file of at most `most` bytes.

    Raises:
        ArchiveError, OSError: as `extract`.
    """
    with _archive_errors(), closing(members_of(archive, lambda _: None)) as members:
        member = next(members, None)
        if member is None or member.kind != "file":
            return None
        with member.open() as file:
            content = file.read(most + 1)
        return (member.name, content) if len(content) <= most else None


@contextmanager
def _archive_errors() -> Iterator[None]:
    """Turn errors of the standard library into ArchiveError."""
    try:
        yield
    except _BROKEN as error:
        raise ArchiveError(f"is damaged: {_reason(error)}") from error
    except OSError as error:
        # Decompressors raise some of their own errors as OSError without errno.
        if error.errno is None:
            raise ArchiveError(f"is damaged: {_reason(error)}") from error
        raise


@contextmanager
def _name_errors(name: str) -> Iterator[None]:
    """Turn disk errors that a name causes into ArchiveError."""
    try:
        yield
    except OSError as error:
        if error.errno in _CLASHES:
            raise ArchiveError(f"has {shown(name)}, which cannot be written: {error.strerror}") from error
        raise


def _shared_mode(mode: int) -> int:
    return 0o755 if mode & 0o100 else 0o644


class _Extraction:
    """One extraction of one archive."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        size: int | None,
        check: Callable[[], None],
        mode_of: Callable[[int], int],
        may_leave: Callable[[str], bool],
    ) -> None:
        self._folder, self._limits, self._size = folder, limits, size
        self._check, self._mode_of, self._may_leave = check, mode_of, may_leave
        self._unpacked_bytes = self._count = 0
        self._files: set[tuple[str, ...]] = set()
        self._folders: dict[tuple[str, ...], float | None] = {(): None}
        self._links: dict[tuple[str, ...], str] = {}

    def run(self, read: MemberReader) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with _archive_errors():
            for member in read(self._count_bytes):
                self._add(member)
            self._make_links()
            self._set_times()

    def _add(self, member: Member) -> None:
        self._count += 1
        if self._count > self._limits.members:
            raise ArchiveError(f"has more than {self._limits.members:,} members, the limit (--unpack-members)")
        self._check()
        path = components(member.name)
        with _name_errors(member.name):
            self._write(member, path)

    def _write(self, member: Member, path: tuple[str, ...]) -> None:
        if member.kind == "folder":
            self._make_folder(path)
            self._folders[path] = member.mtime
            return
        if not path:
            raise ArchiveError(f"has {shown(member.name)}, which is not a file name")
        self._make_folder(path[:-1])
        if member.kind == "file":
            self._write_file(member, path)
        elif member.kind == "symlink":
            self._make_room(path)
            self._links[path] = member.link
        elif member.kind == "hardlink":
            self._make_hard_link(member, path)
        else:
            raise ArchiveError(f"has {shown(member.name)}, which is neither a file, a folder nor a link")

    def _make_folder(self, path: tuple[str, ...]) -> None:
        """Create a folder and its parents. Each must be a real folder, not a link to one."""
        for length in range(1, len(path) + 1):
            part = path[:length]
            if part in self._folders:
                continue
            where = self._folder.joinpath(*part)
            try:
                where.mkdir(mode=self._mode_of(0o755))
            except FileExistsError:
                if not stat.S_ISDIR(where.lstat().st_mode):
                    raise ArchiveError(f"has a folder {shown('/'.join(part))} at the path of a file") from None
            self._folders[part] = None

    def _make_room(self, path: tuple[str, ...]) -> Path:
        """Return the path for a file. A repeated member replaces itself and nothing else."""
        where = self._folder.joinpath(*path)
        self._links.pop(path, None)
        if path in self._files:
            self._files.remove(path)
            where.unlink()
        elif os.path.lexists(where):
            raise ArchiveError(f"has a file {shown('/'.join(path))} at the path of another file or folder")
        return where

    def _write_file(self, member: Member, path: tuple[str, ...]) -> None:
        where = self._make_room(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
        with member.open() as source, open(os.open(where, flags, 0o600), "wb") as target:
            self._files.add(path)
            while chunk := source.read(_CHUNK):
                self._check()
                target.write(chunk)
            if _HAS_MODES:
                os.fchmod(target.fileno(), self._mode_of(member.mode))
        if member.mtime is not None:
            os.utime(where, (member.mtime, member.mtime))

    def _make_hard_link(self, member: Member, path: tuple[str, ...]) -> None:
        """Create a second name for an earlier member."""
        target = components(member.link)
        if target in self._links:
            self._make_room(path)
            self._links[path] = self._links[target]
            return
        if target not in self._files or target == path:
            raise ArchiveError(
                f"has a link {shown(member.name)} to {shown(member.link)}, which does not come before it"
            )
        source = self._folder.joinpath(*target)
        self._count_bytes(source.stat().st_size)  # readers of the folder read it twice
        os.link(source, self._make_room(path), follow_symlinks=False)
        self._files.add(path)

    def _make_links(self) -> None:
        for path, target in self._links.items():
            if not is_target(target):
                raise ArchiveError(f"has a link {shown('/'.join(path))} whose target is empty or too long")
            where = self._folder.joinpath(*path)
            if os.path.lexists(where):
                raise ArchiveError(f"has a link {shown('/'.join(path))} at the path of another file or folder")
            with _name_errors("/".join(path)):
                where.symlink_to(target)
        if self._links:
            self._check_links()

    def _check_links(self) -> None:
        """Check all links, also those of earlier archives: a new link can change where they lead."""
        for path in links_in(self._folder):
            name = "/".join(path)
            if not self._may_leave(name) and not leads_inside(self._folder, path):
                for made in self._links:
                    self._folder.joinpath(*made).unlink()
                raise ArchiveError(f"has a link {shown(name)} that leads outside")

    def _set_times(self) -> None:
        for path, mtime in self._folders.items():
            if mtime is not None:
                os.utime(self._folder.joinpath(*path), (mtime, mtime))

    def _count_bytes(self, count: int) -> None:
        self._unpacked_bytes += count
        limits = self._limits
        if self._unpacked_bytes > limits.bytes:
            raise ArchiveError(f"becomes larger than {limits.bytes:,} bytes, the limit (--unpack-bytes)")
        if self._size is not None and self._unpacked_bytes > max(_RATIO_FLOOR, limits.ratio * self._size):
            raise ArchiveError(
                f"becomes more than {limits.ratio} times larger than it is, the limit of the ratio (--unpack-ratio)"
            )


def _reason(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
