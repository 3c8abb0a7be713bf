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
from mlmgmt_nb.client.bodies import ServiceSettings, check_keywords
from mlmgmt_nb.client.computes import ComputeList, Computes
from mlmgmt_nb.client.deploying.arguments import DeployArguments, SourceArguments, source_of
from mlmgmt_nb.client.deploying.flow import DeployFlow, IfExists
from mlmgmt_nb.client.deploying.packaged_models import TOLERANCE
from mlmgmt_nb.client.deploying.progress import DeployEvents
from mlmgmt_nb.client.deploying.proposals import AccountServices
from mlmgmt_nb.client.deploying.sources import ModelSource
from mlmgmt_nb.client.deployments import Deployments
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.http.uploads import Uploader
from mlmgmt_nb.client.images import Images
from mlmgmt_nb.client.manifests import Manifests
from mlmgmt_nb.client.models import Models
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.workspace.replaced_names import NamesReplacements, no_attribute
from mlmgmt_nb.contract import Manifest, Model
from mlmgmt_nb.contract.extensions import Service

if TYPE_CHECKING:
    from mlmgmt_nb.client.changes.difference import Difference
    from mlmgmt_nb.packaging import Package

__all__ = ["Workspace"]


class Workspace(metaclass=NamesReplacements):
    """An account: its models, manifests, images, services, deployments and operations. Thread-safe.

    Args:
        transport: sends the requests.
        interpreter: Python that runs drivers without requirements, if the service is on this machine.
        arguments: the arguments of `connect` for this account, without secrets.
        compute: the default compute to build images for and run services on.
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
        self.models: Models = Models(transport, uploader)
        self.manifests: Manifests = Manifests(transport, uploader, interpreter)
        self.operations = Operations(transport)
        self.images: Images = Images(transport, self.operations, compute)
        self._computes = Computes(transport, interpreter)
        self.services: AccountServices = AccountServices(self, transport, self.operations, self._computes, compute)
        self.deployments: Deployments = Deployments(transport, self.services)
        self.audit = Audit(transport)

    @property
    def base_url(self) -> str:
        """The URL of the account, which ends in `/accounts/NAME`."""
        return self._transport.base_url

    @property
    def connect_arguments(self) -> Mapping[str, str]:
        """The arguments of `connect` for this account, for generated code. They contain no secrets."""
        return self._arguments

    def whoami(self) -> Identity:
        """Return the signed-in identity and its role.

        Raises:
            SignInError: you are not signed in.
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
        new_version: bool = False,
        timeout: float | None = None,
        on_step: Callable[[str, float], None] | None = None,
        on_operation: Callable[[Poller[Any]], None] | None = None,
        on_reuse: Callable[[Model | Manifest], None] | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Service:
        """Register models and a manifest, build the image, and start the service; return when it runs.

        All arguments are checked before anything is sent. A file or folder given as model becomes a new version unless
        the latest version has the same content (see `Models.register`), and so does a manifest; a URL always does. If
        the deployment fails, the versions that it made are withdrawn (see `Models.withdraw`).

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
            name: name of the service, its image and its manifest: 3 to 32 of a-z, 0-9, `-` and `.`.
            driver: the driver (`score.py`): a path, or a URL that the service can read, like all files here. Generated
                if None.
            model: a registered `Model`, its id or its name; a file, folder or URL; or a list of these. Without a
                driver: a fitted object, a function, or a model file or folder on this machine.
            schema: the driver's schema file.
            requirements: a pip requirements file, or a list of its lines. The files that it names are sent along.
                Without it and `conda`, an embedded service runs the driver with the Python of this process.
            conda: a conda environment file. On compute `local`, pip installs its packages.
            dependencies: files and folders to place beside the driver.
            runtime: `python` or `spark-py`.
            any_python: run on the available Python, even if the conda file requests another version.
            sample, method, example, tolerance, metadata: how a model without a driver is packaged, see `package`.
            model_name: name for the registered model (default: the name of its file without extension, or the name of
                the service for a packaged model).
            description: description of everything that is created.
            tags: tags for the models that are registered.
            compute_resource_id: compute to build for and run on (default: that of the workspace).
            if_exists: `update` an existing service of this name, `reuse` it unchanged, or `fail`.
            new_version: whether to make versions of models and manifest even if the latest have the same content.
            timeout: maximum seconds to wait (default: unlimited).
            on_step: called after each step with its name (`model`, if there is one; `manifest`, `image`, `service`) and
                its seconds.
            on_operation: called with the poller of the build, and with that of the start of the service.
            on_reuse: called with a model or manifest whose latest version is used because it has the same content.
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: an argument is wrong. Nothing was sent.
            PackagingError: the answers of the package differ from those of the object, and nothing was sent; or those
                of the service differ, and it was rolled back.
            ConflictError: the service exists and `if_exists` is `fail`. Nothing was sent.
            UploadError: a file could not be uploaded.
            OperationFailed: the build failed or the service did not start.
            OperationTimeout: an operation takes longer than `timeout`; it continues.
        """
        check_keywords("deploy", settings, DeployArguments.__annotations__)
        source = source_of(
            {
                "driver": driver,
                "model": model,
                "schema": schema,
                "requirements": requirements,
                "conda": conda,
                "dependencies": dependencies,
                "runtime": runtime,
                "sample": sample,
                "method": method,
                "example": example,
                "tolerance": tolerance,
                "metadata": metadata,
                "any_python": any_python,
                "model_name": model_name,
                "description": description,
                "tags": tags,
                "new_version": new_version,
            }
        )
        flow = DeployFlow(
            self,
            name,
            compute_resource_id=compute_resource_id or self.compute,
            description=description,
            events=DeployEvents(on_step=on_step, on_operation=on_operation, on_reuse=on_reuse),
            timeout=timeout,
        )
        return flow.run(source, settings, if_exists=if_exists)

    def diff(self, name: str, **arguments: Unpack[DeployArguments]) -> Difference:
        """Return how `deploy` with the same arguments would change an existing service. Nothing is sent.

        See `services.diff` for what is compared. The versions of packages are decided when an image is built: until
        then, the requirements that the packages of the service do not meet are shown.

        Example:
            >>> str(ws.diff("iris", model="iris.pkl", driver="score.py")).splitlines()[1]
            'no differences'

        Args:
            name: of the service.
            **arguments: those of `deploy`: the source and the settings.

        Raises:
            UsageError: an argument is wrong, or the server does not have this extension.
            PackagingError: the answers of the package differ from those of the object.
            NotFoundError: the service does not exist.
        """
        check_keywords("diff", arguments, DeployArguments.__annotations__)
        settings: Any = {key: arguments[key] for key in ServiceSettings.__annotations__ if key in arguments}  # type: ignore[literal-required]
        source: Any = {key: arguments[key] for key in SourceArguments.__annotations__ if key in arguments}  # type: ignore[literal-required]
        flow = DeployFlow(self, name, compute_resource_id=self.compute)
        return flow.diff(source_of(source), settings)

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
        dependencies: Sequence[str | os.PathLike[str]] = (),
    ) -> Package:
        """Write the files of a deployment without a driver to a folder, where you can edit and deploy them by hand.

        The folder has the model, a driver, its schema, requirements pinned to the versions of this kernel, and code of
        the notebook. A fresh process answers the sample, and its answer is compared with that of the object. Nothing
        is sent.

        Example:
            >>> def discount(age: int, plan: str) -> float:
            ...     return 0.2 if plan == "A" and age < 30 else 0.0
            >>> package = ws.package(discount, sample={"age": 25, "plan": "A"}, to="discount")
            >>> package.driver.name, package.proof.largest
            ('score.py', 0.0)

        Args:
            model: a fitted object, a function, or the path of a model file or folder.
            to: the folder; it must be empty or new.
            sample: an input of the model: rows as DataFrame or array, text, or for a function a dict of its arguments.
            method: method that answers requests (default: `predict`, or the function itself).
            example: True to show rows of the sample as the example of the service, other rows to show instead, or
                False for types only.
            tolerance: largest relative difference between the answers of the object and of the package.
            metadata: metadata to store with the model, such as `{"metrics": {"auc": 0.93}}`.
            dependencies: files and folders that the model reads, to place beside the driver.

        Raises:
            UsageError: the model or the sample cannot be packaged; the message names the part and the reason.
            PackagingError: the answers of the package differ from those of the object.
        """
        from mlmgmt_nb.packaging import package

        return package(
            model,
            to=to,
            sample=sample,
            method=method,
            example=example,
            tolerance=tolerance,
            metadata=metadata,
            dependencies=dependencies,
        )

    def computes(self) -> ComputeList:
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
        """End the background thread and the connections. Operations continue. May be called again."""
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
