"""The model of a package, written from an object or copied from a file to an empty folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mlmgmt_nb.errors import MlmgmtError, UsageError
from mlmgmt_nb.packaging.flavours import Call, Flavour, SavedModel, flavour_of
from mlmgmt_nb.packaging.flavours.base import copied
from mlmgmt_nb.packaging.notebook_answer import expected_answer

__all__ = [
    "WrittenModel",
    "copied_dependencies",
    "emptied_on_failure",
    "empty_folder",
    "path_of_model",
    "written_from_file",
    "written_from_object",
]

_MOST_CHARACTERS = 300


class WrittenModel(NamedTuple):
    """A model as files in the application folder.

    Attributes:
        flavour: the framework.
        saved: the files, and the driver code that loads and calls them.
        call: the method and the sample.
        expected: the answer of the object in the notebook, as JSON; None if there is nothing to compare with.
    """

    flavour: Flavour
    saved: SavedModel
    call: Call
    expected: bytes | None = None


def written_from_file(source: Path, sample: Any, method: str | None, folder: Path) -> WrittenModel:
    """Copy a model file or folder to the application folder."""
    with _reading(source):
        flavour = flavour_of(source)
        call = Call(method, flavour.sample(source, sample))
        return WrittenModel(flavour, flavour.adopt(source, call, folder), call)


def written_from_object(model: Any, sample: Any, method: str | None, folder: Path) -> WrittenModel:
    """Write an object to the application folder, and compute its answer in the notebook."""
    flavour = flavour_of(model)
    given = flavour.sample(model, sample)
    call = Call(method if method is not None else flavour.method(model), given)
    if call.method is not None:
        flavour.check_method(model, call.method)
    try:
        saved = flavour.save(model, call, folder)  # saved first, because answering may modify it
    except UsageError:
        raise
    except Exception:
        expected_answer(flavour, model, call)  # raises a clearer error if the model is not fitted
        raise
    return WrittenModel(flavour, saved, call, expected_answer(flavour, model, call))


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    """Convert errors of frameworks, which may have any type, to a UsageError that names the file."""
    try:
        yield
    except MlmgmtError:
        raise
    except ImportError as error:
        raise UsageError(
            f"model: {source.name} needs {error.name or error}, which is not installed",
            field="model",
            fix="Install it in this kernel with `%pip install`.",
        ) from error
    except Exception as error:
        first = str(error).strip().partition("\n")[0][:_MOST_CHARACTERS]
        raise UsageError(
            f"model: {source.name} cannot be read: {type(error).__name__}: {first}",
            field="model",
            fix="Save it again in the format of its extension, or give the object.",
        ) from error


def path_of_model(model: Any) -> Path | None:
    """Return the path if the model is given as one; None for an object."""
    if not isinstance(model, (str, os.PathLike)):
        return None
    path = Path(model).expanduser()
    if not path.exists():
        raise UsageError(f"model: file not found: {path}", field="model", fix=f"It is taken from {Path.cwd()}.")
    return path.resolve()


def empty_folder(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"to: {folder} is not an empty folder", field="to", fix="Give a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def emptied_on_failure(folder: Path) -> Iterator[None]:
    """Empty the folder again if the block fails, so that the next attempt can use it."""
    try:
        yield
    except BaseException:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        raise


def copied_dependencies(paths: Iterable[Path], folder: Path, carried: Collection[str]) -> list[str]:
    """Copy files and folders that the model reads to the application folder. Return their names there.

    Args:
        paths: the files and folders.
        folder: the application folder.
        carried: names of local modules that the folder already contains.

    Raises:
        UsageError: a path does not exist, or has the name of a generated file.
    """
    return [copied(_checked(path.expanduser(), folder), folder) for path in paths if path.name not in carried]


def _checked(path: Path, folder: Path) -> Path:
    if not path.exists():
        raise UsageError(
            f"dependencies: file not found: {path}", field="dependencies", fix=f"It is taken from {Path.cwd()}."
        )
    path = path.resolve()
    if (folder / path.name).exists():
        raise UsageError(
            f"dependencies: {path.name!r} is the name of a file of the package", field="dependencies", fix="Rename it."
        )
    return path
