"""Read the members of tar and zip archives in order, without trusting their headers."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, TypeVar, cast

__all__ = ["ArchiveError", "Member", "MemberReader", "members_of", "tar_members"]

T = TypeVar("T")
Spend = Callable[[int], None]
"""Called with the number of bytes that were read or will be written; raises when there are too many."""

_SINGLE_READ = 16 * 2**20
"""Maximum bytes of one read. The standard library keeps single reads (such as file lists) in memory."""
_HEADER_BYTES = 2**20
"""Maximum bytes of all headers of one member of a tar archive: they are kept in memory and parsed slowly."""
_GLOBAL_BYTES = 2**16
"""Maximum bytes of headers that apply to all later members. They are parsed again for each of them."""
_CHUNK = 2**16
_LATEST = float(2**32)
"""Latest time of a file that every file system supports."""
_COMPRESSIONS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}
"""Openers by the first bytes of a file."""


class ArchiveError(Exception):
    """An archive cannot be extracted. The message continues a sentence that begins with "the archive"."""


@dataclass(frozen=True)
class Member:
    """A member of an archive, as it describes itself.

    Attributes:
        link: the target of a link; of a hard link, the name of another member.
        open: returns the content of a file; read it before you ask for the next member.
    """

    name: str
    kind: Literal["file", "folder", "symlink", "hardlink", "other"]
    mode: int
    mtime: float | None
    open: Callable[[], IO[bytes]]
    link: str = ""


Members = Generator[Member, None, None]
MemberReader = Callable[[Spend], Members]


def members_of(archive: Path, spend: Spend) -> Members:
    """Read a tar archive, compressed or not, or a zip archive.

    Raises:
        ArchiveError: the archive is encrypted or truncated, or is neither tar nor zip.
        OSError, ValueError, ...: raised by the standard library for a damaged archive.
    """
    with archive.open("rb") as file:
        start = file.read(8)
    for magic, opened in _COMPRESSIONS.items():
        if start.startswith(magic):
            with closing(opened(archive)) as unpacked:
                yield from tar_members(unpacked, spend)
            return
    if _is_tar(archive):
        with archive.open("rb") as file:
            yield from tar_members(file, spend)
    elif zipfile.is_zipfile(archive):
        yield from _zip_members(archive, spend)
    else:
        raise ArchiveError("is not a .tar, .tar.gz or .zip archive")


def _is_tar(archive: Path) -> bool:
    """Return whether the first block is a tar header. `tarfile.is_tarfile` would also read everything it announces."""
    with archive.open("rb") as file:
        block = file.read(tarfile.BLOCKSIZE)
    if len(block) == tarfile.BLOCKSIZE and not block.strip(b"\0"):
        return True  # an empty archive
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


class _ForwardReader(io.RawIOBase):
    """A forward-only stream that counts each byte and refuses reads too large for memory."""

    def __init__(self, stream: IO[bytes], spend: Spend) -> None:
        self._stream, self._spend, self._position = stream, spend, 0
        self._header_bytes: int | None = None

    def within_headers(self, read: Callable[[], T]) -> T:
        """Call a function whose reads are headers of one member."""
        self._header_bytes = 0
        try:
            return read()
        finally:
            self._header_bytes = None

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _SINGLE_READ:
            raise ArchiveError(f"has a header that is longer than {_HEADER_BYTES:,} bytes")
        if self._header_bytes is not None:
            self._header_bytes += size
            if self._header_bytes > _HEADER_BYTES:
                raise ArchiveError(f"has a member whose headers are longer than {_HEADER_BYTES:,} bytes")
        return self._take(size)

    def _take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._position += len(data)
        self._spend(len(data))
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise tarfile.ReadError("its members overlap")
        while self._position < offset:
            if not self._take(min(_CHUNK, offset - self._position)):
                break
        return self._position

    def seekable(self) -> bool:
        return True


def tar_members(stream: IO[bytes], spend: Spend, *, needs_end: bool = True) -> Members:
    """Read an uncompressed tar archive.

    Raises:
        ArchiveError: the end-of-archive marker is missing (if it `needs_end`), or headers are too long.
    """
    ended, global_bytes = False, 0

    class Header(tarfile.TarInfo):
        """Record the end-of-archive marker, which distinguishes a whole archive from one cut between members."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
            nonlocal ended, global_bytes
            ended = ended or (len(buf) == tarfile.BLOCKSIZE and not bytes(buf).strip(b"\0"))
            header = super().frombuf(buf, encoding, errors)
            global_bytes += header.size if header.type == tarfile.XGLTYPE else 0
            if global_bytes > _GLOBAL_BYTES:
                raise ArchiveError(f"has headers for all of its members that are longer than {_GLOBAL_BYTES:,} bytes")
            return header

    forward = _ForwardReader(stream, spend)

    def opened() -> tarfile.TarFile:
        return tarfile.TarFile(fileobj=cast("BinaryIO", forward), tarinfo=Header, errorlevel=2)

    with forward.within_headers(opened) as tar:  # it reads the first header
        while (info := forward.within_headers(tar.next)) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # they would all be kept
            yield _of_tar(tar, info, spend)
    if needs_end and not ended:
        raise ArchiveError("is truncated: its end-of-archive marker is missing")


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo, spend: Spend) -> Member:
    if info.size < 0:  # it would give back what other members spend
        raise tarfile.ReadError(f"{info.name!r} has a negative size")
    if info.issparse():
        spend(info.size)  # holes of sparse files are not read, but written

    def content() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None
        return cast("IO[bytes]", _CompleteReader(file, info.size))

    kinds = (
        ("symlink", info.issym()),
        ("hardlink", info.islnk()),
        ("folder", info.isdir()),
        ("file", info.type in tarfile.REGULAR_TYPES),
    )
    kind = next((kind for kind, is_it in kinds if is_it), "other")
    mtime = max(0.0, min(float(info.mtime), _LATEST))
    return Member(info.name, cast("Any", kind), info.mode, mtime, content, info.linkname)


def _zip_members(archive: Path, spend: Spend) -> Members:
    with archive.open("rb") as file, zipfile.ZipFile(cast("IO[bytes]", _BoundedReader(file))) as zipped:
        for info in zipped.infolist():
            if info.flag_bits & 1:
                raise ArchiveError(f"is encrypted ({info.filename!r}); create it without a password")
            yield _of_zip(zipped, info, spend)


def _of_zip(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, spend: Spend) -> Member:
    mode = info.external_attr >> 16 if info.create_system == 3 else 0  # only archives made on Unix have a mode

    def content() -> IO[bytes]:
        return cast("IO[bytes]", _ForwardReader(zipped.open(info), spend))

    if info.is_dir():
        return Member(info.filename, "folder", mode, None, content)
    if mode & 0o170000 == 0o120000:
        with content() as file:
            target = file.read(_CHUNK).decode(errors="surrogateescape")
        return Member(info.filename, "symlink", mode, None, content, target)
    is_file = mode & 0o170000 in {0, 0o100000}
    return Member(info.filename, "file" if is_file else "other", mode, None, content)


class _BoundedReader:
    """A file for `zipfile` that refuses reads too large for memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _SINGLE_READ:
            raise ArchiveError(f"has a list of files that is longer than {_SINGLE_READ:,} bytes")
        return self._file.read(size)


class _CompleteReader(io.RawIOBase):
    """The content of a member, which must have the size in its header."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if not data and self._left > 0:
            raise tarfile.ReadError("unexpected end of data")
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
