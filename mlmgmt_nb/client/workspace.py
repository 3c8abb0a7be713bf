"""The workspace: one account of the Model Management API, and how to connect to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, Unpack
from urllib.parse import quote

from requests.adapters import BaseAdapter

from mlmgmt_nb import local
from mlmgmt_nb.client.applications.application import Source
from mlmgmt_nb.client.audit import Audit
from mlmgmt_nb.client.auth.identity import Identity, whoami
from mlmgmt_nb.client.auth.signin import SignIn, credential_for
from mlmgmt_nb.client.bodies import ServiceSettings
from mlmgmt_nb.client.deploying.flow import DeployEvents, DeployFlow, DeploySource, IfExists, ModelSource
from mlmgmt_nb.client.deploying.packages import TOLERANCE, PackageOptions
from mlmgmt_nb.client.deployments import Deployments
from mlmgmt_nb.client.http.credentials import TokenCredential, TokenFile
from mlmgmt_nb.client.http.passive import is_passive
from mlmgmt_nb.client.http.transport import Location, Timeout, Transport, origin
from mlmgmt_nb.client.http.uploads import Uploader
from mlmgmt_nb.client.images import Images
from mlmgmt_nb.client.manifests import Manifests
from mlmgmt_nb.client.models import Models
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.services import Services
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.moving import advice_for_attribute

if TYPE_CHECKING:
    from mlmgmt_nb.packaging import Package

__all__ = ["Workspace", "connect"]


def connect(
    *,
    home: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    subscription: str | None = None,
    resource_group: str | None = None,
    account: str | None = None,
    token: str | None = None,
    credential: TokenCredential | None = None,
    sign_in: SignIn | None = None,
    scope: str | None = None,
    compute: str | None = None,
    timeout: float | Timeout = (3.05, 30.0),
    adapter: BaseAdapter | None = None,
) -> Workspace:
    """Connect to an account: that of `base_url`, or else the user's embedded service, which is started if need be.

    Arguments win over the environment: MLMGMT_BASE_URL, MLMGMT_SUBSCRIPTION, MLMGMT_RESOURCE_GROUP, MLMGMT_ACCOUNT,
    MLMGMT_SCOPE, MLMGMT_TOKEN, MLMGMT_COMPUTE and MLMGMT_HOME. `home` alone always means the embedded service of that
    folder, which has its token there. Another server gets the token that is given, else one of Azure AD: of the
    environment's service principal, the machine's or workload's identity, `az login`, or, if somebody is there to do
    so, by signing in; that is done when the first request is sent.

    Example:
        >>> with connect(account="team") as team:
        ...     team.base_url.rpartition("/api/")[2]
        'subscriptions/local/resourceGroups/local/accounts/team'

    Args:
        home: state folder of the embedded service.
        base_url: URL of an account, which ends in `/accounts/NAME`; or of a server, with the three that follow.
        subscription, resource_group, account: name the account; at the embedded service, or instead of those in
            `base_url`.
        token: bearer token for `base_url`.
        credential: gives the token for `base_url` instead: an object of azure-identity, or any with its `get_token`.
        sign_in: how to sign in with Azure AD instead.
        scope: what a token of Azure AD is asked for: `api://.../.default` of the server, or the management API of
            Azure when None.
        compute: where images are built for and services run when nothing else is said: `local`, or `docker` for
            containers of a Docker engine.
        timeout: seconds to connect, and to wait for each part of an answer; one number stands for both.
        adapter: carries the requests instead of the client's own pool of connections.

    Raises:
        UsageError: the arguments do not go together, or the URL is none of an account.
        LocalServiceError: the embedded service did not start.
    """
    used_compute = compute or os.environ.get("MLMGMT_COMPUTE") or "local"
    timeout = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    if home is None:
        base_url = base_url or os.environ.get("MLMGMT_BASE_URL")
    elif base_url is not None:
        raise UsageError("home and base_url cannot be combined", field="home", fix="Give one of them.")
    named = _Account(
        subscription or os.environ.get("MLMGMT_SUBSCRIPTION"),
        resource_group or os.environ.get("MLMGMT_RESOURCE_GROUP"),
        account or os.environ.get("MLMGMT_ACCOUNT"),
    )
    if base_url is None:
        given = {"token": token, "credential": credential, "sign_in": sign_in}
        if unfit := next((name for name, value in given.items() if value is not None), None):
            raise UsageError(
                "a token or credential requires a base_url",
                field=unfit,
                fix="Give base_url or set MLMGMT_BASE_URL; the embedded service needs no token from you.",
            )
        locate = partial(_embedded, local.state_folder(home), named)
        transport = Transport(locate(), timeout=timeout, relocate=locate, adapter=adapter)
        arguments = named.arguments(home=home, compute=compute)
        return Workspace(transport, interpreter=sys.executable, arguments=arguments, compute=used_compute)
    url = named.url(base_url)
    scope = scope or os.environ.get("MLMGMT_SCOPE")
    location = Location(url, credential_for(url, token=token, credential=credential, sign_in=sign_in, scope=scope))
    arguments = named.arguments(base_url=base_url, compute=compute)
    return Workspace(Transport(location, timeout=timeout, adapter=adapter), arguments=arguments, compute=used_compute)


class _Moved(type):
    """Raise an error that names the replacement for attributes of other packages' `Workspace`."""

    if not TYPE_CHECKING:  # type checkers would accept any name

        def __getattr__(cls, name: str) -> Any:
            raise _no_attribute(cls.__name__, name)


def _no_attribute(owner: str, name: str) -> AttributeError:
    moved = None if name.startswith("_") else advice_for_attribute(name)
    if moved is None:
        return AttributeError(f"{owner!r} has no attribute {name!r}", name=name)
    return AttributeError(f"{moved.problem}. {moved.fix}", name=name)


class Workspace(metaclass=_Moved):
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
        self.services = Services(transport, self.operations, compute)
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
        new_version: bool = False,
        timeout: float | None = None,
        on_step: Callable[[str, float], None] | None = None,
        on_operation: Callable[[Poller[Any]], None] | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Service:
        """Register models and a manifest, build the image, run it as a service, and return when the service runs.

        Everything is checked before anything is sent. A file or folder given as model makes a new version unless the
        latest version has the same content (see `Models.register`), and so does a manifest; a URL always does. If the
        deployment fails, the versions that it made are withdrawn (see `Models.withdraw`).

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
            new_version: whether to make versions of models and manifest even if the latest have the same content.
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
            new_version=new_version,
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
        found: list[dict[str, str | None]] = self._transport.send("GET", "/computes").json()["value"]
        return found

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
        self._transport.send("PUT", f"/computes/{quote(name, safe='')}", query={"computeId": compute})

    def remove_compute_alias(self, name: str) -> bool:
        """Remove an alias of a compute. Return False if there was none. Images and services keep their compute.

        Args:
            name: the alias.
        """
        answer = self._transport.send("DELETE", f"/computes/{quote(name, safe='')}")
        return answer.status_code != 204

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise _no_attribute("Workspace", name)

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


class _Account(NamedTuple):
    """The parts of an account's name; None for parts that are not given."""

    subscription: str | None
    resource_group: str | None
    name: str | None

    def arguments(self, **more: str | os.PathLike[str] | None) -> dict[str, str]:
        """Return the arguments of `connect` that say the same."""
        named = {"subscription": self.subscription, "resource_group": self.resource_group, "account": self.name}
        return {name: str(value) for name, value in {**more, **named}.items() if value is not None}

    def url(self, base_url: str) -> str:
        """Return the URL of the account at a server, or instead of the one that the URL names.

        Raises:
            UsageError: the URL is not valid, or the account is not given.
        """
        url = base_url.rstrip("/")
        try:
            origin(url)
        except UsageError as error:
            raise UsageError(
                f"base_url: {error.message}", field="base_url", fix="Give http(s)://HOST/.../accounts/NAME."
            ) from error
        parts = url.split("/")
        if not any(self) or "?" in url or "#" in url:
            if len(parts) < 2 or parts[-2] != "accounts" or "?" in url or "#" in url:
                raise UsageError(
                    f"base_url {base_url!r} does not end in /accounts/NAME",
                    field="base_url",
                    fix="Also give subscription, resource_group and account, or give the whole URL: `mlmgmt status` "
                    "prints that of the embedded service.",
                )
            return url
        has_account = len(parts) > 6 and (parts[-6], parts[-4], parts[-2]) == _WORDS
        known = (parts[-5], parts[-3], parts[-1]) if has_account else (None, None, None)
        chosen = [quote(mine, safe="") if mine else theirs for mine, theirs in zip(self, known, strict=True)]
        for name, value in zip(("subscription", "resource_group", "account"), chosen, strict=True):
            if value is None:
                raise UsageError(f"{name} is missing", field=name, fix="Give it, or give the whole URL as base_url.")
        server = parts[:-6] if has_account else [*parts, "api"]
        return "/".join([*server, *(str(part) for pair in zip(_WORDS, chosen, strict=True) for part in pair)])


_WORDS = ("subscriptions", "resourceGroups", "accounts")


def _embedded(home: str | os.PathLike[str], account: _Account) -> Location:
    endpoint = local.resume(home) if is_passive() else local.ensure(home)
    return Location(account.url(endpoint.base_url), TokenFile(endpoint.token_file), endpoint.certificate)
