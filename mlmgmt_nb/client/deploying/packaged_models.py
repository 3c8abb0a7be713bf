"""Deployments without a driver: package the model first, and verify that the service returns the same answers."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from mlmgmt_nb.client.applications.application import Application, Source
from mlmgmt_nb.client.http.files import as_source, as_sources, is_url
from mlmgmt_nb.contract import Model
from mlmgmt_nb.errors import UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.packaging import Package

__all__ = [
    "TOLERANCE",
    "PackageOptions",
    "application_of",
    "check_not_packaged",
    "check_packageable",
    "local_dependencies",
    "packaged",
]

TOLERANCE = 1e-6
"""Default maximum relative difference between answers."""


class PackageOptions(TypedDict, total=False):
    """Options for packaging a model; see `Workspace.package`."""

    sample: Any
    method: str | None
    example: Any
    tolerance: float
    metadata: Mapping[str, Any] | None
    dependencies: Sequence[str | os.PathLike[str]]


@contextmanager
def packaged(
    model: Any, options: PackageOptions, on_modules: Callable[[Collection[str]], None] = lambda _: None
) -> Iterator[Package]:
    """Package a model in a folder that is removed at the end.

    Args:
        model: see `Workspace.package`.
        options: options for packaging.
        on_modules: called before the proof with the modules that its driver imports.

    Raises:
        UsageError: the model needs a driver, or cannot be packaged.
        PackagingError: the package does not return the same answers as the object.
    """
    from mlmgmt_nb.packaging.package import write_package

    with tempfile.TemporaryDirectory(prefix="mlmgmt-package-") as folder:
        made = write_package(model, Path(folder, "package"), on_modules=on_modules, **options)
        for warning in made.warnings:
            warnings.warn(f"model: {warning}", stacklevel=4)
        yield made


def check_packageable(model: Any, schema: Source | None = None, runtime: str = "python") -> None:
    """Check that a model can be packaged, so that no driver is needed.

    Raises:
        UsageError: it needs a driver; or a schema or runtime was given, which only a driver can use.
    """
    if isinstance(model, (list, tuple)):
        what = "several models require one"
    elif model is None:
        what = "a service without a model requires one"
    elif isinstance(model, Model):
        what = f"the registered model {model.name!r} needs one"
    elif isinstance(model, str) and (is_url(model) or not Path(model).expanduser().exists()):
        what = f"the model {model!r}, which is not a file of this machine, needs one"
    elif schema is not None:
        what = "the schema describes one; without a driver the sample does"
    elif runtime != "python":
        what = f"runtime {runtime!r} needs one"
    else:
        return
    raise UsageError(
        f"driver: it is missing, and {what}",
        field="driver",
        fix="Give `driver='score.py'`; a fitted object, a function or a model file needs none.",
    )


def check_not_packaged(options: PackageOptions) -> None:
    """Check that no options of packaging are given beside a driver.

    Raises:
        UsageError: an option is given, and would be ignored.
    """
    unset = {"sample": None, "method": None, "example": True, "metadata": None}
    given = [field for field, default in unset.items() if options.get(field, default) is not default]
    if options.get("tolerance", TOLERANCE) != TOLERANCE:
        given.append("tolerance")
    for field in given:
        raise UsageError(
            f"{field}: only models without a driver use it, but a driver is given",
            field=field,
            fix="Omit one of the two.",
        )


class PackagedSource(Protocol):
    """The files that are added to those of a package; see `DeploySource`."""

    @property
    def requirements(self) -> Source | Sequence[str] | None: ...
    @property
    def conda(self) -> Source | None: ...
    @property
    def dependencies(self) -> Sequence[Source]: ...
    @property
    def any_python(self) -> bool: ...


def application_of(package: Package, source: PackagedSource) -> Application:
    """Return the application of a package, with further files and requirements; its requirements file gets these."""
    from mlmgmt_nb.packaging.versions import properties

    recorded = properties(package.requirements.read_text(encoding="utf-8"))
    if more := _lines(source.requirements):
        with package.requirements.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", "# additional requirements", *more, ""]))
    return Application(
        driver=package.driver,
        schema=package.schema,
        requirements=package.requirements,
        conda=source.conda,
        dependencies=[*package.dependencies, *(one for one in source.dependencies if _is_elsewhere(one))],
        from_kernel=source.requirements is None and source.conda is None,
        properties=recorded,
        any_python=source.any_python,
    )


def local_dependencies(sources: Sequence[Source]) -> list[str]:
    """Return the files and folders of this machine, which are packaged with the model."""
    return [one for one in as_sources(sources, "dependencies") if not is_url(one)]


def _is_elsewhere(source: Source) -> bool:
    return is_url(as_source(source, "dependencies"))


def _lines(requirements: Source | Sequence[str] | None) -> list[str]:
    if isinstance(requirements, (str, os.PathLike)):
        return Path(requirements).expanduser().read_text(encoding="utf-8").splitlines()
    return list(requirements or ())
