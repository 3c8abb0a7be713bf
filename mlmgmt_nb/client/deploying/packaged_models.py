"""Deployments without a driver: package the model first, and verify that the service returns the same answers."""

from __future__ import annotations

import os
import shlex
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import msgspec

from mlmgmt_nb import local
from mlmgmt_nb.client.applications.application import Application, Source
from mlmgmt_nb.client.http.files import as_source, is_url
from mlmgmt_nb.contract import Model, ServiceResponse
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.errors import PackagingError, UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.client.services import Services
    from mlmgmt_nb.packaging import Package, Proof

__all__ = [
    "TOLERANCE",
    "DeployedService",
    "PackageOptions",
    "Verification",
    "application_of",
    "check_not_packaged",
    "check_packageable",
    "local_dependencies",
    "packaged",
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
    dependencies: Sequence[str | os.PathLike[str]]


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
        dependencies=[*package.dependencies, *(one for one in source.dependencies if _is_elsewhere(one))],
        from_kernel=source.requirements is None and source.conda is None,
        properties=recorded,
        any_python=source.any_python,
    )


def local_dependencies(sources: Sequence[Source]) -> list[str]:
    """Return the files and folders of this machine, which are packaged with the model."""
    return [as_source(one, "dependencies") for one in sources if not _is_elsewhere(one)]


def _is_elsewhere(source: Source) -> bool:
    return is_url(as_source(source, "dependencies"))


class DeployedService(Service, frozen=True, kw_only=True):
    """A service that runs a packaged model. Its display has three lines: the proof, the URL, and a command to try it.

    Attributes:
        proof: how its answer to the sample compares with that of the object in the notebook, such as `answers 20 rows
            as the notebook does, bit for bit`.
        command: the command that scores its example, without the name of the program.
    """

    proof: str
    command: str

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """The lines of its display, but for the program before the command: each a label and its text."""
        url = self.scoring_uri or ""
        return (f"service {self.name}", self.proof), ("URL", url), ("try it", self.command)


resolve(DeployedService)


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

    def of(
        self, services: Services, before: ServiceResponse | None, connect: Mapping[str, str]
    ) -> Callable[[Service], Service]:
        """Return the check of a service.

        Args:
            services: the services of the account.
            before: the service before the deployment, or None if it is new.
            connect: the arguments of `connect` that lead to the account.
        """
        return partial(self._checked, services, before, connect)

    def _checked(
        self, services: Services, before: ServiceResponse | None, connect: Mapping[str, str], service: Service
    ) -> Service:
        largest = self._difference(services, before, service) if self.request else 0.0
        command = " ".join(["service run", f"-n {service.name}", *_place(connect)])
        return DeployedService(**msgspec.structs.asdict(service), proof=self._claim(largest), command=command)

    def _claim(self, largest: float) -> str:
        if self.proof is None:
            return "runs; there was no sample to compare its answer with"
        return self.proof.statement(largest)

    def _difference(self, services: Services, before: ServiceResponse | None, service: ServiceResponse) -> float:
        """Return the largest difference of the answers. Undo the deployment if it is more than the tolerance.

        Raises:
            PackagingError: they differ.
        """
        from mlmgmt_nb.packaging.proof import Proof, compare

        got = services.run(service, self.request, timeout=_SECONDS)
        largest, differences = compare(self.expected, got, self.tolerance)
        if not differences:
            return largest
        if before is None:
            services.delete(service)
        else:
            services.update(service, image=before.image).result()
        undone = "it was deleted" if before is None else "it was rolled back to its previous image"
        shows_values = self.proof is None or self.proof.shows_values
        rows = self.proof.rows if self.proof else 1
        proof = Proof(rows, True, largest, differences, shows_values=shows_values)
        raise PackagingError(
            f"the service {service.name!r} does not return the same answers as the object in the notebook; "
            f"{undone}\n{proof}",
            proof=proof,
            fix="Compare the versions of its packages with those of this kernel, or give a `tolerance`.",
        )


def _place(connect: Mapping[str, str]) -> Iterator[str]:
    """Yield the flags that lead to an account which a command does not find by itself."""
    home, base_url = connect.get("home"), connect.get("base_url")
    if home is not None and local.state_folder(home) != local.state_folder(None):
        yield f"--home {shlex.quote(home)}"
    if base_url is not None and base_url != os.environ.get("MLMGMT_BASE_URL"):
        yield f"--base-url {shlex.quote(base_url)}"


def _lines(requirements: Source | Sequence[str] | None) -> list[str]:
    if isinstance(requirements, (str, os.PathLike)):
        return Path(requirements).expanduser().read_text(encoding="utf-8").splitlines()
    return list(requirements or ())
