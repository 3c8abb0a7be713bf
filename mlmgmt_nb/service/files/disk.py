"""Writing files so that they survive a power cut, and the errors of full and read-only disks."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

__all__ = ["DISK_FULL", "READ_ONLY", "flush", "write_atomically", "write_if_new"]

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers for a full disk."""
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""Error numbers for a read-only file or folder."""


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file atomically: after a power cut, it is complete or absent."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_if_new(path: Path, content: bytes) -> None:
    """Write a file atomically unless it already has this content, so that a full disk does not cause a failure."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    write_atomically(path, content)


def flush(folder: Path) -> None:
    """Make everything written to the disk of a folder survive a power cut.

    One call for many files is faster than one call for each.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    except AttributeError:  # not on macOS
        os.sync()
    finally:
        os.close(descriptor)
