"""Requests to a cluster, and its errors in words for the user.

The dynamic client of the official package sends and receives plain data, in every release of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlmgmt_nb.scoring.http.access.hosts import LOOPBACK
from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.kubernetes.api.library import load_library
from mlmgmt_nb.service.compute.kubernetes.declaring.versions import PLURALS, VERSIONS
from mlmgmt_nb.service.docker_engine import root_cause

__all__ = ["ClusterError", "Connection", "in_pod"]

_CONNECT_SECONDS, _READ_SECONDS, _NODE_SECONDS = 3.0, 20.0, 5.0
_EVERYWHERE = frozenset({"v1", "apps/v1"})
"""API versions that every cluster has."""
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_OF_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What the client raises for a kubeconfig with unexpected values."""
_NOT_INSTALLED = "The package `kubernetes` is not installed. Run: pip install 'mlmgmt-nb[kubernetes]'."


class ClusterError(Exception):
    """A request to a cluster failed.

    Attributes:
        code: machine-readable.
        message: a sentence for the user.
        status: status of the response; None if there was none.
        causes: the details of a refusal.
    """

    def __init__(self, code: str, message: str, status: int | None = None, causes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.causes = causes

    @property
    def is_away(self) -> bool:
        """Return whether the cluster cannot be used at all now, regardless of the request.

        The status 500 is not among them: a cluster also responds with it if a webhook for this kind of object does not.
        """
        return self.status is None or self.status in {401, 429, 502, 503, 504}

    @property
    def is_failure(self) -> bool:
        """Return whether the cluster or a part of it failed, such as a node, rather than refuse the request."""
        return self.is_away or self.status == 500

    @property
    def is_lasting(self) -> bool:
        """Return whether the same request would fail again."""
        return not self.is_failure and self.status != 409


def in_pod() -> bool:
    """Return whether this process runs in a pod with a service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (_ACCOUNT / "token").exists()


class Connection:
    """A connection to a cluster, opened on first use."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._made: tuple[Any, str] | None = None
        self._versions: dict[str, str] = {}

    @property
    def namespace(self) -> str:
        """Return the namespace of our objects.

        Raises:
            ClusterError: the kubeconfig cannot be used.
        """
        return self._settings.namespace or self._connected()[1]

    @property
    def server(self) -> str:
        """Return the address of the API server."""
        return str(self._connected()[0].client.configuration.host)

    def request(
        self, method: str, path: str, body: Any = None, *, accept: str = "application/json", **options: Any
    ) -> Any:
        """Send a request; return the decoded response.

        Args:
            options: as for the dynamic client, such as `label_selector`.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        return _decoded(self._send(method, path, body=body, header_params={"Accept": accept}, **options))

    def text(self, path: str, query: dict[str, Any]) -> bytes:
        """Return a text that comes from a node, such as a log. The node may be lost, so the time is short.

        Raises:
            ClusterError: the cluster refused it, or does not respond.
        """
        options = {"query_params": list(query.items()), "header_params": {"Accept": "*/*"}}
        return self._send("GET", path, **options, _request_timeout=(_CONNECT_SECONDS, _NODE_SECONDS))

    def _send(self, method: str, path: str, **options: Any) -> bytes:
        with self.cluster_errors():
            # The client would use the same empty list for all requests.
            options.setdefault("query_params", [])
            data: bytes = self._connected()[0].request(method, path, serialize=False, **options).data
            return data

    def path(self, kind: str, name: str | None = None) -> str:
        """Return the path of a kind in the best version that the cluster has, or of one object.

        Raises:
            ClusterError: the cluster has none of the versions that we know, or does not respond.
        """
        version = self._versions.get(kind)
        if version is None:
            version = self._versions[kind] = self._find_version(kind)
        root = "api" if "/" not in version else "apis"
        path = f"/{root}/{version}/namespaces/{self.namespace}/{PLURALS[kind]}"
        return path if name is None else f"{path}/{name}"

    def _find_version(self, kind: str) -> str:
        versions = VERSIONS[kind]
        for version in versions:
            if version in _EVERYWHERE or self._has(kind, version):
                return version
        raise ClusterError("OldCluster", f"The cluster has no {kind} of {' or '.join(versions)}.", 404)

    def _has(self, kind: str, version: str) -> bool:
        try:
            served = self.request("GET", f"/apis/{version}")["resources"]
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return any(each["kind"] == kind for each in served)

    def new_client(self) -> Any:
        """Return another client, for use by one thread.

        Raises:
            ClusterError: the kubeconfig cannot be used.
        """
        return self._make()[0]

    def reset(self) -> None:
        """Connect anew at the next request: credentials may have changed."""
        with self._lock:
            self._made = None
            self._versions.clear()

    def _connected(self) -> tuple[Any, str]:
        with self._lock:
            if self._made is None:
                api, namespace = self._make()
                from kubernetes.dynamic import DynamicClient

                with self.cluster_errors():
                    self._made = DynamicClient(api, discoverer=_NoDiscovery), namespace
            return self._made

    def _make(self) -> tuple[Any, str]:
        try:
            load_library()
        except ImportError as error:
            raise ClusterError("NotInstalled", _NOT_INSTALLED) from error
        from kubernetes import client, config

        configuration = client.Configuration()
        if in_pod() and self._settings.kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
            namespace = (_ACCOUNT / "namespace").read_text().strip()
        else:
            namespace = self._read_kubeconfig(config, configuration)
        configuration.retries = False
        if (urlsplit(configuration.host).hostname or "") in LOOPBACK:
            configuration.proxy = None
        api = client.ApiClient(configuration)
        _limit_time(api.rest_client)
        return api, namespace

    def _read_kubeconfig(self, config: Any, configuration: Any) -> str:
        """Load the configuration; return the namespace of the context."""
        import yaml

        settings = self._settings
        file = os.path.expanduser(settings.kubeconfig) if settings.kubeconfig else None
        shown = file or os.environ.get("KUBECONFIG") or "~/.kube/config"
        try:
            contexts, current = config.list_kube_config_contexts(config_file=file)
            known = {each["name"]: each for each in contexts}
            chosen = known.get(settings.context) if settings.context else current
            if chosen is None:
                raise ClusterError(
                    "NoContext", f"{shown} has no context {settings.context!r}; it has {', '.join(sorted(known))}."
                )
            config.load_kube_config(
                config_file=file, context=settings.context, client_configuration=configuration, persist_config=False
            )
            return str(chosen["context"].get("namespace") or "default")
        except RecursionError as error:
            raise ClusterError("BadKubeconfig", f"The kubeconfig {shown} is nested too deeply.") from error
        except (yaml.YAMLError, config.ConfigException, OSError, *_OF_VALUES) as error:
            # Messages of YAML have several lines.
            reason = " ".join(str(error).split()).rstrip(".")
            raise ClusterError("BadKubeconfig", f"The kubeconfig {shown} cannot be used: {reason}.") from error

    @contextlib.contextmanager
    def cluster_errors(self) -> Iterator[None]:
        """Turn errors of the client into ClusterError."""
        try:
            load_library()
        except ImportError as error:
            raise ClusterError("NotInstalled", _NOT_INSTALLED) from error
        import urllib3
        from kubernetes.client.exceptions import ApiException
        from kubernetes.config import ConfigException

        try:
            yield
        except ApiException as error:
            raise _refusal(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            where = self._made[0].client.configuration.host if self._made else "the cluster"
            raise ClusterError(
                "Unreachable", f"The API server {where} does not respond: {root_cause(error)}."
            ) from error
        except ConfigException as error:
            raise ClusterError(
                "BadKubeconfig", f"The credentials of the kubeconfig cannot be used: {error}."
            ) from error


class _NoDiscovery:
    """A replacement of the client's discovery, which reads all kinds again for each version that a cluster lacks."""

    def __init__(self, client: Any, cache_file: str | None) -> None:
        del client, cache_file


def _limit_time(rest: Any) -> None:
    """Add a time limit to each request without one: the client has no setting for it."""
    send = rest.request

    def request(*arguments: Any, **options: Any) -> Any:
        if options.get("_request_timeout") is None:
            options["_request_timeout"] = (_CONNECT_SECONDS, _READ_SECONDS)
        return send(*arguments, **options)

    rest.request = request


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def _refusal(error: Any) -> ClusterError:
    status = int(error.status or 0)
    body = _status_of(error)
    said = body.get("message") or error.reason or f"status {status}"
    causes = tuple(each.get("message", "") for each in (body.get("details") or {}).get("causes", []))
    if status == 401:
        message = "The cluster does not accept the credentials: the token of the kubeconfig is wrong or has expired."
        return ClusterError("Unauthorized", message, status)
    if status == 0:
        return ClusterError("Unreachable", f"The API server does not respond: {said}.", None)
    code = body.get("reason") or "ClusterRefused"
    return ClusterError(str(code), f"The cluster refused the request: {said}.".replace("..", "."), status, causes)


def _status_of(error: Any) -> dict[str, Any]:
    """Return the `Status` in the body of a response; empty if it is something else."""
    body = _decoded(error.body if isinstance(error.body, bytes) else str(error.body or "").encode())
    return body if isinstance(body, dict) else {}
