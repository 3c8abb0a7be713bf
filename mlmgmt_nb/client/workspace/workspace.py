"""The workspace: one account of the Model Management API."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from mlmgmt_nb.client.applications.application import Source
from mlmgmt_nb.client.audit import Audit
from mlmgmt_nb.client.auth.identity import Identity, whoami
from mlmgmt_nb.client.bodies import ServiceSettings
from mlmgmt_nb.client.computes import Computes
from mlmgmt_nb.client.deploy import DeployEvents, DeployFlow, DeploySource, IfExists, ModelSource
from mlmgmt_nb.client.deployments import Deployments
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.http.uploads import Uploader
from mlmgmt_nb.client.images import Images
from mlmgmt_nb.client.manifests import Manifests
from mlmgmt_nb.client.models import Models
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.packaged_models import TOLERANCE, PackageOptions
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.services import Services
from mlmgmt_nb.client.workspace.replaced_names import NamesReplacements, no_attribute
from mlmgmt_nb.contract.extensions import Service

if TYPE_CHECKING:
    from mlmgmt_nb.packaging import Package

__all__ = ["Workspace"]


class Workspace(metaclass=NamesReplacements):
    """An account: its models, manifests, images, services, deployments and operations. Thread-safe.

    Args:
        transport: sends the requests.
        interpreter: Python that runs drivers which ask for no packages, when the service is on this machine.
        arguments: those of `connect` that lead to this account, without any secret.
        compute: compute that images are built for and services run on by default.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        interpreter: str | None = None,
        arguments: Mapping[str, str] | None = None,
        compute: str = "local",
    ) -> None:
        self._transport = transport
        self._interpreter = interpreter
        self._arguments = dict(arguments or {})
        self.compute = compute
        uploader = Uploader(transport)
        self.models = Models(transport, uploader)
        self.manifests = Manifests(transport, uploader, interpreter)
        self.operations = Operations(transport)
        self.images = Images(transport, self.operations, compute)
        self._computes = Computes(transport)
        self.services = Services(transport, self.operations, self._computes, compute)
        self.deployments = Deployments(transport, self.services)
        self.audit = Audit(transport)

    @property
    def base_url(self) -> str:
        """The account's URL, which ends in `/accounts/NAME`."""
        return self._transport.base_url

    @property
    def connect_arguments(self) -> Mapping[str, str]:
        """The arguments of `connect` that lead to this account, for code that does; secrets are not among them."""
        return self._arguments

    def whoami(self) -> Identity:
        """Return the signed-in identity and its role.

        Raises:
            SignInError: nobody is signed in.
            UnauthorizedError: the server does not accept the token.
        """
        return whoami(self._transport)

    def deploy(
        self,
        name: str,
        *,
        driver: Source | None = None,
        model: ModelSource | Sequence[ModelSource] | Any = None,
        schema: Source | None = None,
        requirements: Source | Sequence[str] | None = None,
        conda: Source | None = None,
        dependencies: Sequence[Source] = (),
        runtime: str = "python",
        sample: Any = None,
        method: str | None = None,
        example: Any = True,
        tolerance: float = TOLERANCE,
        metadata: Mapping[str, Any] | None = None,
        any_python: bool = False,
        model_name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        compute_resource_id: str | None = None,
        if_exists: IfExists = "update",
        timeout: float | None = None,
        on_step: Callable[[str, float], None] | None = None,
        on_operation: Callable[[Poller[Any]], None] | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Service:
        """Register models and a manifest, build the image, run it as a service, and return when the service runs.

        Everything is checked before anything is sent. A file or folder given as model makes a
        new version unless the latest version has the same content (see `Models.register`); a URL always does.

        Without a driver, a fitted object, a function or a model file is packaged first, see `package`: a fresh process
        must answer the sample as the object does before anything is sent, and the service once it runs.

        Example:
            >>> service = ws.deploy("iris-2", model="iris.pkl", driver="score.py")
            >>> ws.services.run(service, [[5.1, 3.5, 1.4, 0.2]])
            [0]
            >>> ws.services.delete(service)
            True
            >>> def discount(age: int, plan: str) -> float:
            ...     return 0.2 if plan == "A" and age < 30 else 0.0
            >>> service = ws.deploy("discount", model=discount, sample={"age": 25, "plan": "A"})
            >>> ws.services.run(service, {"age": 41, "plan": "A"})
            0.0
            >>> ws.services.delete(service)
            True

        Args:
            name: of the service, its image and its manifest: 3 to 32 of a-z, 0-9, `-` and `.`.
            driver: the driver (`score.py`): a path, or a URL that the service can read, as all files here. One is
                generated when None.
            model: a registered `Model`, its id or its name, or a file, folder or URL; or a list of these. Without a
                driver a fitted object, a function, or a model file or folder of this machine.
            schema: the driver's schema file.
            requirements: a pip requirements file, or a list of its lines. Without it and `conda` an embedded service
                runs the driver with this process's own Python. The files that it names are sent along.
            conda: a conda environment file. On compute `local`, pip installs its packages.
            dependencies: files and folders that lie beside the driver when it runs.
            runtime: `python` or `spark-py`.
            any_python: run on the Python at hand, whatever version the conda file asks for.
            sample, method, example, tolerance, metadata: how a model without a driver is packaged, see `package`.
            model_name: name for the one model that is registered; when None its file's name without ending, or the
                name of the service if it is packaged.
            description: free text for what is made.
            tags: tags for the models that are registered.
            compute_resource_id: where to build and run; the compute of the workspace when None.
            if_exists: `update` an existing service of this name, `reuse` it unchanged, or `fail`.
            timeout: most seconds to wait, or None.
            on_step: called with `model`, `manifest`, `image`, `service` and its seconds when each is done.
            on_operation: called with the poller of the image's build, and with that of the service's start, which can
                be watched and cancelled.
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: an argument is wrong. Nothing was sent.
            PackagingError: the package does not answer as the object does: nothing was sent. Or the service does not,
                and was undone.
            ConflictError: the service exists and `if_exists` is `fail`. Nothing was sent.
            UploadError: bytes could not be sent.
            OperationFailed: the build failed or the service did not start.
            OperationTimeout: it takes longer; it goes on.
        """
        packaging: PackageOptions = {"sample": sample, "method": method, "example": example, "tolerance": tolerance}
        packaging["metadata"] = metadata
        several = driver is not None and isinstance(model, Sequence) and not isinstance(model, str)
        models: Sequence[Any] = list(model) if several else [] if model is None else [model]  # type: ignore[arg-type]
        source = DeploySource(
            models=models,
            driver=driver,
            schema=schema,
            requirements=requirements,
            conda=conda,
            dependencies=dependencies,
            runtime=runtime,
            any_python=any_python,
            packaging=packaging,
            model_name=model_name,
            model_description=description,
            tags=tags,
        )
        flow = DeployFlow(
            self,
            name,
            compute_resource_id=compute_resource_id or self.compute,
            description=description,
            events=DeployEvents(on_step=on_step, on_operation=on_operation),
            timeout=timeout,
        )
        return flow.run(source, settings, if_exists=if_exists)

    def package(
        self,
        model: Any,
        *,
        to: str | os.PathLike[str],
        sample: Any = None,
        method: str | None = None,
        example: Any = True,
        tolerance: float = TOLERANCE,
        metadata: Mapping[str, Any] | None = None,
    ) -> Package:
        """Write the files of a deployment without a driver into a folder, to be read, edited and deployed by hand.

        The folder has the model, a driver, its schema, requirements pinned to what this kernel has, and code of the
        notebook. A fresh process answers the sample and is compared with the object. Sends nothing.

        Example:
            >>> def discount(age: int, plan: str) -> float:
            ...     return 0.2 if plan == "A" and age < 30 else 0.0
            >>> package = ws.package(discount, sample={"age": 25, "plan": "A"}, to="discount")
            >>> package.driver.name, package.proof.largest
            ('score.py', 0.0)

        Args:
            model: a fitted object, a function, or the path of a model file or folder.
            to: the folder; it must be empty or new.
            sample: what the model takes: rows as DataFrame or array, text, or for a function a dict of its arguments.
            method: method that answers requests; `predict` when None, or the function itself.
            example: whether rows of the sample are shown as the example of the service; other rows to show in their
                place; or False for their types only.
            tolerance: largest relative difference between the answers of the object and of the package.
            metadata: facts that are kept with the model, such as `{"metrics": {"auc": 0.93}}`.

        Raises:
            UsageError: the model or the sample cannot be used; the text says which part and why.
            PackagingError: the package does not answer as the object does.
        """
        from mlmgmt_nb.packaging import package

        return package(
            model, to=to, sample=sample, method=method, example=example, tolerance=tolerance, metadata=metadata
        )

    def computes(self) -> list[dict[str, str | None]]:
        """Return the computes of the service: `id`, `state` (`ready` or `unavailable`) and the `reason` if unavailable.

        Example:
            >>> ws.computes()[0]
            {'id': 'local', 'state': 'ready', 'reason': None}

        Raises:
            NotFoundError: the server does not list its computes; that is an extension of ours.
        """
        return self._computes.list()

    def set_compute_alias(self, name: str, compute: str) -> None:
        """Give a compute another name, so that a resource id of 2017 with that name means it.

        Example:
            >>> ws.set_compute_alias("mycluster", "local")
            >>> ws.remove_compute_alias("mycluster")
            True

        Args:
            name: the other name, such as that of a cluster, or a whole resource id.
            compute: id of the compute.

        Raises:
            BadRequestError: the name is that of a compute.
            NotFoundError: the compute does not exist, or the server has no aliases.
        """
        self._computes.set_alias(name, compute)

    def remove_compute_alias(self, name: str) -> bool:
        """Remove an alias of a compute. Return False if there was none. Images and services keep their compute.

        Args:
            name: the alias.
        """
        return self._computes.remove_alias(name)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute("Workspace", name)

    def close(self) -> None:
        """End the background thread and the connections. Operations go on; may be called again."""
        self.operations.watcher.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Transport], Workspace], tuple[Transport]]:
        """For `pickle` and `deepcopy`: a workspace with connections of its own. No secret is in the pickle."""
        clone = partial(type(self), interpreter=self._interpreter, arguments=self._arguments, compute=self.compute)
        return clone, (self._transport,)

    def __repr__(self) -> str:
        return f"<Workspace {self.base_url}>"
