"""Files and folders of the user: whether they can be uploaded, their media types, and folders as archives."""

from __future__ import annotations

import contextlib
import gzip
import mimetypes
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from mlmgmt_nb.errors import UsageError

__all__ = ["archive", "as_source", "as_sources", "check_readable", "files_in", "is_url", "mime_type_of"]

_SKIPPED = frozenset({"__pycache__", ".ipynb_checkpoints"})
_MIME_TYPES = {
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".zip": "application/zip",
    ".json": "application/json",
    ".yml": "application/yaml",
    ".yaml": "application/yaml",
    ".py": "text/x-python",
}


def is_url(text: str) -> bool:
    """Return whether the text is a URL (`https://...`, `s3://...`, `file:///...`), not a path."""
    return "://" in text


def as_source(value: object, field: str) -> str:
    """Return the path or URL as text.

    Args:
        value: the value of the argument.
        field: name of the argument.

    Raises:
        UsageError: it is neither a path nor a valid URL, such as a fitted model.
    """
    if isinstance(value, (str, os.PathLike)) and isinstance(text := os.fspath(value), str):
        if is_url(text):
            _check_url(text, field)
        return text
    fix = "Give the path of a file or folder, or a URL."
    if field in {"model", "path_or_url"}:
        fix = (
            "Save it first, for example `joblib.dump(model, 'model.pkl')`, and give that path; the driver's init() "
            "loads it again."
        )
    raise UsageError(f"{field}: a {type(value).__name__} is neither a path nor a URL", field=field, fix=fix)


def as_sources(values: object, field: str) -> list[str]:
    """Return a list of paths or URLs as text.

    Raises:
        UsageError: it is a single one, or contains something else.
    """
    if isinstance(values, (str, os.PathLike)):
        raise UsageError(
            f"{field}: it is a path, not a list of paths", field=field, fix=f"Give `{field}=[{os.fspath(values)!r}]`."
        )
    if not isinstance(values, Iterable):
        raise UsageError(f"{field} is {values!r}", field=field, fix="Give a list of paths.")
    return [as_source(value, field) for value in values]


def _check_url(text: str, field: str) -> None:
    try:
        urlsplit(text)
    except ValueError as error:
        raise UsageError(f"{field}: {text!r} is not a URL: {error}", field=field, fix="Check the URL.") from error


def mime_type_of(name: str) -> str:
    """Return the media type for a file name; `application/octet-stream` for models and unknown types."""
    suffix = Path(name).suffix.lower()
    guessed, encoding = mimetypes.guess_type(name)
    return _MIME_TYPES.get(suffix) or (None if encoding else guessed) or "application/octet-stream"


_MAY_BE_EMPTY = frozenset({"dependencies", "requirements"})
"""Arguments whose files can be empty: `__init__.py` beside a driver, a driver that needs no packages."""


def check_readable(path: Path, field: str, without: frozenset[str] = frozenset()) -> None:
    """Check that a file or folder can be uploaded.

    Args:
        path: the file or folder.
        field: name of the argument, for messages.
        without: names in the folder that are left out.

    Raises:
        UsageError: it is missing, empty (except for dependencies and requirements), cannot be read, is neither a file
            nor a folder, or has a link that is broken or points outside the folder.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            _check_folder(path, field, without)
        elif not stat.S_ISREG(kind):
            raise UsageError(f"{field}: {path} is neither a file nor a folder", field=field, fix="Give a regular file.")
        elif path.stat().st_size == 0 and field not in _MAY_BE_EMPTY:
            raise UsageError(f"{field}: the file {path} is empty", field=field, fix="Write the file first.")
        else:
            path.open("rb").close()
    except FileNotFoundError as error:
        raise UsageError(
            f"{field}: file not found: {path}", field=field, fix=f"Check the path; it is relative to {Path.cwd()}."
        ) from error
    except OSError as error:
        raise UsageError(
            f"{field}: {path} cannot be read: {error.strerror}", field=field, fix="Check its permissions."
        ) from error


def _check_folder(folder: Path, field: str, without: frozenset[str]) -> None:
    files = 0
    root = folder.resolve()
    for path in _walk(folder, without):
        if path.is_symlink():
            _check_link(path, root, field)
        if not path.is_dir():
            if not path.is_file():
                raise UsageError(
                    f"{field}: {path} is not a regular file", field=field, fix="Remove it from the folder."
                )
            path.open("rb").close()
            files += 1
    if not files:
        raise UsageError(f"{field}: the folder {folder} has no files", field=field, fix="Put the files into it first.")


def _check_link(link: Path, root: Path, field: str) -> None:
    if not link.exists():
        raise UsageError(
            f"{field}: the link {link} is broken (it points to {os.readlink(link)})",
            field=field,
            fix="Remove the link or put the file there.",
        )
    if not link.resolve().is_relative_to(root):
        raise UsageError(
            f"{field}: the link {link} points outside the folder, to {link.resolve()}",
            field=field,
            fix="Copy the file into the folder.",
        )
    if link.is_dir() and link.parent.resolve().is_relative_to(link.resolve()):
        raise UsageError(f"{field}: the link {link} is part of a cycle", field=field, fix="Remove the link.")


def _walk(folder: Path, without: frozenset[str]) -> Iterator[Path]:
    """Yield the contents of a folder, sorted, following links, without the caches of Python and Jupyter."""
    for path in sorted(folder.iterdir()):
        if path.name in _SKIPPED or path.name in without:
            continue
        yield path
        leads_up = path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())
        if path.is_dir() and not leads_up:
            yield from _walk(path, without)


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder that are uploaded, each with its path relative to the folder."""
    for path in _walk(folder, frozenset()):
        if not path.is_dir():
            yield path.relative_to(folder).as_posix(), path


def archive(folder: Path, name: str, to: Path, without: frozenset[str] = frozenset()) -> None:
    """Write a `.tar.gz` with the folder as `name`, without the names in `without`. Equal content has equal bytes."""
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(to.open("wb"))
        packed = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0))
        tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT))
        for path in _walk(folder, without):
            if path.is_dir():
                entry = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            else:
                _add_file(tar, path, f"{name}/{path.relative_to(folder).as_posix()}")


def _add_file(tar: tarfile.TarFile, path: Path, name: str) -> None:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        entry = tarfile.TarInfo(name)
        entry.size = found.st_size
        entry.mode = 0o755 if found.st_mode & stat.S_IXUSR else 0o644
        tar.addfile(entry, file)
