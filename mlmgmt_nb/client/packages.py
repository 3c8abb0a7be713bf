"""Deployments without a driver: the model is packaged first, and the service proves that it answers the same."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from mlmgmt_nb.client.applications.application import Application, Source
from mlmgmt_nb.client.http.files import is_url
from mlmgmt_nb.contract import Manifest, Model, ServiceResponse
from mlmgmt_nb.errors import PackagingError, UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.client.services import Services
    from mlmgmt_nb.packaging import Package

__all__ = [
    "PackageOptions",
    "application_of",
    "check_not_packaged",
    "check_packageable",
    "check_served",
    "packaged",
    "warn_of_versions",
]

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
    """Package a model in a folder that goes away at the end.

    Raises:
        UsageError: the model needs a driver, or cannot be packaged.
        PackagingError: the package does not answer as the object does.
    """
    from mlmgmt_nb.packaging import package

    with tempfile.TemporaryDirectory(prefix="mlmgmt-package-") as folder:
        made = package(model, to=Path(folder, "package"), **options)
        for warning in made.warnings:
            warnings.warn(f"model: {warning}", stacklevel=4)
        yield made


def check_packageable(model: Any, *, schema: Source | None = None, runtime: str = "python") -> None:
    """Check that a model can be packaged, so that no driver is needed.

    Raises:
        UsageError: it needs a driver; or the schema or runtime is for one.
    """
    if isinstance(model, (list, tuple)):
        what = "several models need one"
    elif model is None:
        what = "a service without a model needs one"
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
    """Check that nothing was said about packaging, where a driver is given.

    Raises:
        UsageError: something was, and would be ignored.
    """
    for field, unset in {"sample": None, "method": None, "example": True, "metadata": None}.items():
        given = options.get(field, unset)
        if given is not unset:
            raise UsageError(
                f"{field}: it is for a model without a driver, and there is a driver",
                field=field,
                fix="Leave one of the two out.",
            )


def application_of(
    package: Package,
    *,
    requirements: Source | Sequence[str] | None = None,
    conda: Source | None = None,
    dependencies: Sequence[Source] = (),
    any_python: bool = False,
) -> Application:
    """Return the application of a package; further requirements are added to its file.

    Args:
        package: the package.
        requirements: further requirements, as a file or lines.
        conda: a conda environment file.
        dependencies: further files and folders beside the driver.
        any_python: run on the Python at hand, whatever version the conda file asks for.
    """
    from mlmgmt_nb.packaging.versions import properties

    recorded = properties(package.requirements.read_text(encoding="utf-8"))
    if more := _lines(requirements):
        with package.requirements.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", "# given besides", *more, ""]))
    return Application(
        driver=package.driver,
        schema=package.schema,
        requirements=package.requirements,
        conda=conda,
        dependencies=[*package.dependencies, *dependencies],
        from_kernel=requirements is None and conda is None,
        properties=recorded,
        any_python=any_python,
    )


def warn_of_versions(manifest: Manifest | None) -> None:
    """Warn, in one line, if a model was packaged with other versions than this kernel has."""
    from mlmgmt_nb.packaging.versions import difference

    recorded = manifest.target_runtime.properties if manifest is not None else {}
    if line := difference(recorded):
        warnings.warn(line, stacklevel=2)


def check_served(
    services: Services, service: ServiceResponse, package: Package, before: ServiceResponse | None, tolerance: float
) -> None:
    """Compare the answer of the running service with that of the package. Undo the deployment if they differ.

    Raises:
        PackagingError: they differ.
    """
    from mlmgmt_nb.packaging.proof import Proof, compare

    if not package.request:
        return
    got = services.run(service, package.request, timeout=_SECONDS)
    largest, differences = compare(package.expected, got, tolerance)
    if not differences:
        return
    if before is None:
        services.delete(service)
    else:
        services.update(service, image=before.image).result()
    undone = "it was deleted" if before is None else "it runs its former image again"
    rows = package.proof.rows if package.proof else 1
    proof = Proof(rows, True, largest, differences)
    raise PackagingError(
        f"the service {service.name!r} does not answer as the object in the notebook does; {undone}\n{proof}",
        proof=proof,
        fix="Compare the versions of its packages with those of this kernel, or give a `tolerance`.",
    )


def _lines(requirements: Source | Sequence[str] | None) -> list[str]:
    if isinstance(requirements, (str, os.PathLike)):
        return Path(requirements).expanduser().read_text(encoding="utf-8").splitlines()
    return list(requirements or ())
