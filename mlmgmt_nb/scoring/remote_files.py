"""Files in a storage: at an fsspec URL, or in an Azure storage account by its connection string."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["open_files", "storage_errors"]


def open_files(where: str) -> tuple[Any, str]:
    """Return the file system of fsspec, and the path in it to which others are relative ("" or with a slash at its
    end).

    Args:
        where: a folder, an fsspec URL, or the connection string of an Azure storage account.

    Raises:
        ImportError: fsspec, or the package for this kind of URL, is not installed.
    """
    import fsspec

    # Listings are not cached: new files arrive all the time.
    options: dict[str, Any] = {"use_listings_cache": False}
    if "AccountName=" in where or "BlobEndpoint=" in where:
        where, options = "abfs://", {"connection_string": where}
    files, root = fsspec.core.url_to_fs(where, **options)
    return files, f"{root.rstrip('/')}/" if root else ""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Convert the errors of a storage, which has types of its own, to OSError.

    Raises:
        FileNotFoundError: a file or folder is not there.
        OSError: the storage does not respond as it should, or its package is not installed.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
