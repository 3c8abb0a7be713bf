"""The application of a manifest: the driver and its files, on this machine or at URLs that the service can read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from mlmgmt_nb.client.applications.conda import LOCAL, check_local, rewritten
from mlmgmt_nb.client.applications.requirements import Bundle, Source, requirement_lines
from mlmgmt_nb.client.http.files import as_source, as_sources, check_readable, files_in, is_url, mime_type_of
from mlmgmt_nb.client.http.uploads import Uploaded, Uploader, in_parallel
from mlmgmt_nb.contract import Asset, TargetRuntime
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.redaction import redacted

__all__ = ["DRIVER", "Application", "Source"]

DRIVER, SCHEMA = "driver", "schema"
"""Ids of the assets that are the driver and its schema."""

_PROPERTIES = {"requirements": "pipRequirements", "conda": "condaEnvFile"}
"""The property of the manifest's runtime that receives an argument."""
_SENT_AS = {"requirements": "requirements.txt", "conda": "environment.yml"}
"""The names of rewritten files that are sent instead of the given ones."""
_RUNTIMES: dict[str, Literal["Python", "SparkPython"]] = {"python": "Python", "spark-py": "SparkPython"}


@dataclass(frozen=True, kw_only=True)
class Application:
    """The files and settings of a manifest.

    Example:
        >>> Application(driver="score.py", requirements=["xgboost"]).check()
        >>> Application(driver="missing.py").check()
        Traceback (most recent call last):
        ...
        mlmgmt_nb.errors.UsageError: driver: file not found: missing.py
        ...

    Attributes:
        driver: the driver (`score.py`).
        schema: its schema file.
        requirements: a pip requirements file, or its lines. The files that it names (`-r`, `-c`, wheels, folders of
            projects, `--find-links`) are sent along.
        conda: a conda environment file; files that its pip section names are sent along too.
        dependencies: files and folders that are beside the driver when it runs, under their own names.
        runtime: `python` or `spark-py`.
        from_kernel: whether the requirements are the packages of this process's Python, so that an embedded service may
            run the driver with it instead of creating an environment.
        properties: further properties of the runtime, which the manifest records.
        any_python: run on the available Python, even if the conda file requests another version.
    """

    driver: Source
    schema: Source | None = None
    requirements: Source | Sequence[str] | None = None
    conda: Source | None = None
    dependencies: Sequence[Source] = ()
    runtime: str = "python"
    from_kernel: bool = False
    properties: Mapping[str, str] | None = None
    any_python: bool = False

    def __repr__(self) -> str:
        """Return all fields, without the passwords of package indexes."""
        return redacted(
            f"Application({', '.join(f'{field.name}={getattr(self, field.name)!r}' for field in fields(self))})"
        )

    def check(self, compute: str | None = None, *, is_here: bool = False) -> None:
        """Check the application, as far as possible on this machine.

        Args:
            compute: the compute that its image is built for, if that is known.
            is_here: the service is on this machine.

        Raises:
            UsageError: a file is missing, empty or cannot be read; a folder is given where a file is needed; two files
                have the same name; the runtime is unknown; the requirements name a file that cannot be sent; the
                compute cannot serve the conda file.
        """
        if self.runtime not in _RUNTIMES:
            raise UsageError(
                f"runtime: {self.runtime!r} is unknown",
                field="runtime",
                fix=f"Give {' or '.join(map(repr, _RUNTIMES))}.",
            )
        for field, source in self._sources():
            if not is_url(source):
                check_readable(Path(source).expanduser(), field)
                if field != "dependencies" and Path(source).expanduser().is_dir():
                    raise UsageError(f"{field}: {source} is a folder", field=field, fix="Give a file.")
        self.check_names()
        self._packages()
        if compute == LOCAL and self.conda is not None and not is_url(os.fspath(self.conda)):
            check_local(Path(self.conda), any_python=self.any_python, is_here=is_here)

    def _packages(self) -> tuple[Bundle, dict[str, str]]:
        """Return the files that the requirements name, and requirements and conda files that were rewritten.

        Raises:
            UsageError: a file cannot be sent; the message has all problems.
        """
        bundle, changed = Bundle(), {}
        lines = None if self.requirements is None else requirement_lines(self.requirements, bundle)
        if lines is not None and (not isinstance(self.requirements, (str, os.PathLike)) or bundle.is_changed):
            changed["requirements"] = "".join(f"{line}\n" for line in lines)
        if self.conda is not None and not is_url(os.fspath(self.conda)):
            text = rewritten(Path(self.conda), bundle, any_python=self.any_python)
            changed |= {} if text is None else {"conda": text}
        if bundle.problems:
            raise UsageError(
                f"requirements: {'; '.join(bundle.problems)}", field="requirements", fix="Change these lines."
            )
        return bundle, changed

    def check_names(self) -> None:
        """Check that the files can share one folder, by their names only.

        Raises:
            UsageError: two of them have the same name.
        """
        names = Counter(
            _name(source) for field, source in self._sources() if field in {"driver", "schema", "dependencies"}
        )
        taken = next((name for name, times in names.items() if times > 1), None)
        if taken is not None:
            raise UsageError(
                f"dependencies: {taken!r} is listed twice, but all files share one folder when the driver runs",
                field="dependencies",
                fix="Rename one of them, or put it into a folder of its own.",
            )

    def files(self) -> Iterator[tuple[str, str, str]]:
        """Yield each file beside the driver: its argument, its path there, and its local path or URL."""
        for field, source in self._sources():
            path = Path(source).expanduser()
            if field in _PROPERTIES:
                continue
            if is_url(source) or not path.is_dir():
                yield field, _name(source), source
            else:
                yield from ((field, f"{_name(source)}/{name}", str(file)) for name, file in files_in(path))

    def requested(self) -> list[str] | None:
        """Return the lines of the requirements; None if they are at a URL, or in a conda file too."""
        if self.conda is not None:
            return None
        return [] if self.requirements is None else requirement_lines(self.requirements, Bundle())

    def upload(self, uploader: Uploader, interpreter: str | None) -> tuple[list[Asset], TargetRuntime]:
        """Upload the files.

        Args:
            uploader: uploads to the account's store.
            interpreter: Python that runs a driver without requirements, if the service is on this machine.

        Returns:
            The assets and the runtime of the manifest.
        """
        bundle, changed = self._packages()
        sources = [(field, source) for field, source in self._sources() if field not in changed]
        contents = in_parallel([partial(_upload, uploader, field, source) for field, source in sources])
        assets, properties = [], dict(self.properties or {})
        for (field, source), content in zip(sources, contents, strict=True):
            if field in _PROPERTIES:
                properties[_PROPERTIES[field]] = content.url
            else:
                asset_id = _name(source) if field == "dependencies" else field
                unpack = True if content.unpack else None
                assets.append(Asset(id=asset_id, url=content.url, mime_type=content.mime_type, unpack=unpack))
        for field, text in changed.items():
            properties[_PROPERTIES[field]] = uploader.upload_text(text, _SENT_AS[field])
        if interpreter and (self.from_kernel or not set(_PROPERTIES.values()) & properties.keys()):
            properties["pythonInterpreter"] = interpreter
        assets += bundle.assets(uploader)
        return assets, TargetRuntime(properties=properties, runtime_type=_RUNTIMES[self.runtime])

    def _sources(self) -> list[tuple[str, str]]:
        """Return the files and URLs, each with its argument."""
        single = {DRIVER: self.driver, SCHEMA: self.schema, "conda": self.conda}
        if isinstance(self.requirements, (str, os.PathLike)):
            single["requirements"] = self.requirements
        named = [(field, as_source(source, field)) for field, source in single.items() if source is not None]
        return named + [("dependencies", source) for source in as_sources(self.dependencies, "dependencies")]


def _upload(uploader: Uploader, field: str, source: str) -> Uploaded:
    if is_url(source):
        return Uploaded(source, mime_type_of(urlsplit(source).path), unpack=False)
    return uploader.upload(Path(source).expanduser(), field=field)


def _name(source: str) -> str:
    if is_url(source):
        return PurePosixPath(unquote(urlsplit(source).path)).name
    return Path(source).expanduser().resolve().name if source.endswith(("/", ".")) else Path(source).name
