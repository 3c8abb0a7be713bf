"""Deployments without a driver: package the model first, and verify that the service returns the same answers."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from mlmgmt_nb.client.applications.application import Application, Source
from mlmgmt_nb.client.http.files import is_url
from mlmgmt_nb.contract import Manifest, Model, ServiceResponse
from mlmgmt_nb.errors import PackagingError, UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.client.services import Services
    from mlmgmt_nb.packaging import Package, Proof

__all__ = [
    "TOLERANCE",
    "PackageOptions",
    "Verification",
    "application_of",
    "check_not_packaged",
    "check_packageable",
    "packaged",
    "warn_of_versions",
]

TOLERANCE = 1e-6
"""Default of the largest relative difference between answers."""
_SECONDS = 60.0


class PackageOptions(TypedDict, total=False):
    """How a model is packaged, see `Workspace.package`."""

    sample: Any
    method: str | None
    example: Any
    tolerance: float
    metadata: Mapping[str, Any] | None


@contextmanager
def packaged(model: Any, options: PackageOptions) -> Iterator[Package]:
    """Package a model in a folder that is removed at the end.

    Raises:
        UsageError: the model needs a driver, or cannot be packaged.
        PackagingError: the package does not return the same answers as the object.
    """
    from mlmgmt_nb.packaging import package

    with tempfile.TemporaryDirectory(prefix="mlmgmt-package-") as folder:
        made = package(model, to=Path(folder, "package"), **options)
        for warning in made.warnings:
            warnings.warn(f"model: {warning}", stacklevel=4)
        yield made


def check_packageable(model: Any, schema: Source | None = None, runtime: str = "python") -> None:
    """Check that a model can be packaged, so that no driver is needed.

    Raises:
        UsageError: it needs a driver; or the schema or runtime is for one.
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
        dependencies=[*package.dependencies, *source.dependencies],
        from_kernel=source.requirements is None and source.conda is None,
        properties=recorded,
        any_python=source.any_python,
    )


def warn_of_versions(manifest: Manifest | None) -> None:
    """Warn, in one line, if a model was packaged with other versions than this kernel has."""
    from mlmgmt_nb.packaging.versions import difference

    recorded = manifest.target_runtime.properties if manifest is not None else {}
    if line := difference(recorded):
        warnings.warn(line, stacklevel=2)


@dataclass(frozen=True)
class Verification:
    """The comparison of a running service with the package that it serves.

    Attributes:
        request: the sample as the body of a request; empty without a sample.
        expected: the answer of the package.
        proof: the result of the fresh process that gave it.
        tolerance: largest relative difference between numbers.
    """

    request: bytes
    expected: Any
    proof: Proof | None
    tolerance: float

    def of(self, services: Services, before: ServiceResponse | None) -> Callable[[ServiceResponse], None]:
        """Return the check of a service; `before` is the service before the deployment, or None if it is new."""
        return partial(self._check, services, before)

    def _check(self, services: Services, before: ServiceResponse | None, service: ServiceResponse) -> None:
        """Compare the answers. Undo the deployment if they differ.

        Raises:
            PackagingError: they differ.
        """
        from mlmgmt_nb.packaging.proof import Proof, compare

        if not self.request:
            return
        got = services.run(service, self.request, timeout=_SECONDS)
        largest, differences = compare(self.expected, got, self.tolerance)
        if not differences:
            return
        if before is None:
            services.delete(service)
        else:
            services.update(service, image=before.image).result()
        undone = "it was deleted" if before is None else "it was rolled back to its previous image"
        proof = Proof(self.proof.rows if self.proof else 1, True, largest, differences)
        raise PackagingError(
            f"the service {service.name!r} does not return the same answers as the object in the notebook; "
            f"{undone}\n{proof}",
            proof=proof,
            fix="Compare the versions of its packages with those of this kernel, or give a `tolerance`.",
        )


def _lines(requirements: Source | Sequence[str] | None) -> list[str]:
    if isinstance(requirements, (str, os.PathLike)):
        return Path(requirements).expanduser().read_text(encoding="utf-8").splitlines()
    return list(requirements or ())
