"""The application of a manifest: the driver and what it needs, as files here or URLs that the service can read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from mlmgmt_nb.client.files import check_readable, is_url, mime_type_of
from mlmgmt_nb.client.uploads import Uploaded, Uploader, in_parallel
from mlmgmt_nb.contract import Asset, TargetRuntime
from mlmgmt_nb.errors import UsageError

__all__ = ["DRIVER", "Application", "Source"]

DRIVER, SCHEMA = "driver", "schema"
"""Ids of the assets that are the driver and its schema."""

Source = str | os.PathLike[str]
"""A path, or a URL that the service can read."""

_RUNTIMES: dict[str, Literal["Python", "SparkPython"]] = {"python": "Python", "spark-py": "SparkPython"}


@dataclass(frozen=True, kw_only=True)
class Application:
    """What a manifest is made of.

    Example:
        >>> Application(driver="score.py", requirements=["xgboost"]).check()
        >>> Application(driver="missing.py").check()
        Traceback (most recent call last):
        ...
        mlmgmt_nb.errors.UsageError: driver: there is no file missing.py
        ...

    Attributes:
        driver: the driver (`score.py`).
        schema: its schema file.
        requirements: a pip requirements file, or its lines.
        conda: a conda environment file.
        dependencies: files and folders that lie beside the driver when it runs, under their own names.
        runtime: `python` or `spark-py`.
        from_kernel: the requirements are what this process's Python has, so that an embedded service may run the
            driver with it in place of an environment of its own.
        properties: further properties of the runtime, which the manifest keeps.
    """

    driver: Source
    schema: Source | None = None
    requirements: Source | Sequence[str] | None = None
    conda: Source | None = None
    dependencies: Sequence[Source] = ()
    runtime: str = "python"
    from_kernel: bool = False
    properties: Mapping[str, str] | None = None

    def check(self) -> None:
        """Checks all that can be checked here.

        Raises:
            UsageError: a file is missing, empty or cannot be read; a folder is given where a file is needed; two files
                have the same name; the runtime is unknown.
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

    def check_names(self) -> None:
        """Checks that the files can lie in one folder; looks at none of them.

        Raises:
            UsageError: two of them have the same name.
        """
        names = Counter(
            _name(source) for field, source in self._sources() if field in {"driver", "schema", "dependencies"}
        )
        taken = next((name for name, times in names.items() if times > 1), None)
        if taken is not None:
            raise UsageError(
                f"dependencies: {taken!r} is there twice, and all files lie in one folder when the driver runs",
                field="dependencies",
                fix="Rename one of them, or put it into a folder of its own.",
            )

    def upload(self, uploader: Uploader, interpreter: str | None) -> tuple[list[Asset], TargetRuntime]:
        """Uploads the files.

        Args:
            uploader: into the account's store.
            interpreter: Python that runs the driver when it asks for no packages, where the service is on this machine.

        Returns:
            the assets and the runtime of the manifest.
        """
        sources = self._sources()
        contents = in_parallel([partial(_upload, uploader, field, source) for field, source in sources])
        assets, properties = [], dict(self.properties or {})
        for (field, source), content in zip(sources, contents, strict=True):
            if field in {"requirements", "conda"}:
                properties["pipRequirements" if field == "requirements" else "condaEnvFile"] = content.url
            else:
                asset_id = _name(source) if field == "dependencies" else field
                unpack = True if content.unpack else None
                assets.append(Asset(id=asset_id, url=content.url, mime_type=content.mime_type, unpack=unpack))
        if isinstance(self.requirements, Sequence) and not isinstance(self.requirements, str):
            text = "".join(f"{line}\n" for line in self.requirements)
            properties["pipRequirements"] = uploader.upload_text(text, "requirements.txt")
        if interpreter and (self.from_kernel or not {"pipRequirements", "condaEnvFile"} & properties.keys()):
            properties["pythonInterpreter"] = interpreter
        return assets, TargetRuntime(properties=properties, runtime_type=_RUNTIMES[self.runtime])

    def _sources(self) -> list[tuple[str, str]]:
        """Files and URLs with the argument that they came in."""
        single = {DRIVER: self.driver, SCHEMA: self.schema, "conda": self.conda}
        if isinstance(self.requirements, (str, os.PathLike)):
            single["requirements"] = self.requirements
        named = [(field, os.fspath(source)) for field, source in single.items() if source is not None]
        return named + [("dependencies", os.fspath(source)) for source in self.dependencies]


def _upload(uploader: Uploader, field: str, source: str) -> Uploaded:
    if is_url(source):
        return Uploaded(source, mime_type_of(urlsplit(source).path), unpack=False)
    return uploader.upload(Path(source).expanduser(), field=field)


def _name(source: str) -> str:
    if is_url(source):
        return PurePosixPath(unquote(urlsplit(source).path)).name
    return Path(source).expanduser().resolve().name if source.endswith(("/", ".")) else Path(source).name
