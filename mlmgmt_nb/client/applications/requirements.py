"""Requirements and conda files of the user with the files that they name: the parts that are sent, or the problems."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mlmgmt_nb.client.http.files import check_readable, is_url
from mlmgmt_nb.client.http.uploads import Uploader
from mlmgmt_nb.contract import Asset
from mlmgmt_nb.contract.requirements import Option, Requirement, RequirementsError, is_local, local_path, parse
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.redaction import redacted

__all__ = ["Bundle", "PackageFile", "Source", "requirement_lines"]

Source = str | os.PathLike[str]
"""A path, or a URL that the service can read."""

_NOT_OF_A_PROJECT = frozenset(
    [
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".eggs",
        "node_modules",
    ]
)
"""Names in the folder of a project that are not needed to build it."""


class PackageFile(NamedTuple):
    """A file or folder that packages are installed from.

    Attributes:
        path: where it is here.
        text: its content, if that is generated from the file at the path.
        unpack: the build unpacks it; otherwise a folder is sent as the archive of a source distribution.
    """

    path: Path
    text: str | None = None
    unpack: bool = False


class Bundle:
    """The requirements of an application, without paths of this machine, and the files that are sent with them.

    Problems are gathered, so that all can be shown at once.
    """

    def __init__(self) -> None:
        self.files: list[PackageFile] = []
        self.problems: list[str] = []
        self.is_changed = False
        """The text to send differs from the original by more than comments."""
        self._open: list[Path] = []

    def read(self, path: Path) -> list[str]:
        """Return the lines of a requirements file in the form in which they are sent."""
        path = path.expanduser().resolve()
        if path in self._open:
            self.problems.append(f"{path.name}: includes itself")
            return []
        try:
            check_readable(path, "requirements")
            text = path.read_text(encoding="utf-8-sig")
        except UsageError as error:
            self.problems.append(error.message)
            return []
        except UnicodeDecodeError:
            self.problems.append(f"{path.name}: not UTF-8 text")
            return []
        except OSError as error:
            self.problems.append(f"{path.name}: cannot be read: {error.strerror}")
            return []
        self._open.append(path)
        try:
            return self.add(text, path.parent, path.name)
        finally:
            self._open.pop()

    def add(self, text: str, folder: Path, origin: str) -> list[str]:
        """Return the lines of a text in the form in which they are sent.

        Args:
            text: a requirements file.
            folder: the folder that its paths are relative to.
            origin: its name in messages.
        """
        lines: list[str] = []
        try:
            for entry in parse(text):
                lines += self._sent(entry, folder, f"{origin}, line {entry.number}")
        except RequirementsError as error:
            self.problems.append(redacted(f"{origin}, {error}"))
        return lines

    def _sent(self, entry: Option | Requirement, folder: Path, where: str) -> list[str]:
        if isinstance(entry, Requirement):
            return self._sent_requirement(entry, folder, where)
        if entry.name not in {"--requirement", "--constraint", "--find-links"} or not is_local(entry.value):
            return [f"{entry.name} {entry.value}".strip()]
        path = self._path(entry.value, folder, where)
        if path is None:
            return []
        self.is_changed = True
        if entry.name == "--requirement":
            return self.read(path)
        if entry.name == "--constraint":
            limits = "\n".join(self.read(path)) + "\n"
            return [f"--constraint {self._send(PackageFile(path, text=limits), path.name)}"]
        if not path.is_dir():
            self.problems.append(f"{where}: --find-links: {path} is not a folder")
            return []
        if not self._checked(path, where):
            return []
        return [f"--find-links {self._send(PackageFile(path, unpack=True), path.resolve().name)}"]

    def _sent_requirement(self, requirement: Requirement, folder: Path, where: str) -> list[str]:
        if not is_local(requirement.location):
            return [str(requirement)]
        path = self._path(requirement.location, folder, where)
        if path is None:
            return []
        is_project = any((path / name).is_file() for name in ("pyproject.toml", "setup.py"))
        if path.is_dir() and not is_project:
            self.problems.append(f"{where}: the folder {path} has neither pyproject.toml nor setup.py")
            return []
        name = f"{path.resolve().name}.tar.gz" if path.is_dir() else path.name
        self.is_changed = True
        if not self._checked(path, where):
            return []
        return [str(requirement._replace(location=self._send(PackageFile(path), name)))]

    def _path(self, location: str, folder: Path, where: str) -> Path | None:
        """Return the path of a local location; None with a problem if no file can have it."""
        try:
            path = folder / Path(local_path(location)).expanduser()
            with suppress(FileNotFoundError):  # reported like other files that cannot be read
                path.stat()
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self.problems.append(f"{where}: {location!r} cannot be read: {reason}")
            return None
        return path

    def _checked(self, path: Path, where: str) -> bool:
        try:
            check_readable(path, where, _NOT_OF_A_PROJECT)
        except UsageError as error:
            self.problems.append(error.message)
            return False
        return True

    def _send(self, file: PackageFile, name: str) -> str:
        """Return the path that a file has when packages are installed."""
        if file not in self.files:
            self.files.append(file)
        return f"./{_asset_id(self.files.index(file))}/{name}"

    def assets(self, uploader: Uploader) -> list[Asset]:
        """Upload the files; return them as assets of the manifest."""
        return [_uploaded(uploader, _asset_id(number), file) for number, file in enumerate(self.files)]


def _asset_id(number: int) -> str:
    return f"packages/{number + 1}"


def _uploaded(uploader: Uploader, asset_id: str, file: PackageFile) -> Asset:
    if file.text is not None:
        return Asset(id=asset_id, url=uploader.upload_text(file.text, file.path.name), mime_type="text/plain")
    sent = uploader.upload(file.path, field="requirements", without=_NOT_OF_A_PROJECT)
    return Asset(id=asset_id, url=sent.url, mime_type=sent.mime_type, unpack=True if file.unpack else None)


def requirement_lines(requirements: Source | Sequence[str], bundle: Bundle) -> list[str] | None:
    """Return the lines of requirements to send; None for those at a URL, which the service reads.

    Args:
        requirements: a requirements file, or its lines.
        bundle: receives the files that they name.
    """
    if isinstance(requirements, Sequence) and not isinstance(requirements, str):
        return bundle.add("\n".join(requirements), Path.cwd(), "requirements")
    return None if is_url(os.fspath(requirements)) else bundle.read(Path(requirements))
