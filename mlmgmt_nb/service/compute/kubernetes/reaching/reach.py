"""How requests reach the pods of services: by a cluster address, a node port, or a port-forward.

With port-forwards, each connection goes through the API server to the next ready pod.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from mlmgmt_nb.service.building.docker.dockerfile import SCORING_PORT
from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.forwarding.relay import Target
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection, in_pod
from mlmgmt_nb.service.compute.kubernetes.api.library import load_library

__all__ = ["PodReach", "responds"]

Object = dict[str, Any]

_TRY_SECONDS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds until addresses of nodes are tried again; the pause doubles each time."""
_ADDRESSES = ("ExternalIP", "InternalIP", "Hostname")


class PodReach:
    """Finds the way to pods."""

    def __init__(self, connection: Connection, settings: ClusterSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._node_address: str | None = None
        self._pause, self._try_at = _FIRST_PAUSE, float("-inf")
        self._forwards = _PortForwards(connection)

    @property
    def uses_node_ports(self) -> bool:
        """Return whether services need a node port."""
        return self._settings.reach == "node-port" or (self._settings.reach == "auto" and not in_pod())

    def find_node(self, service: Object, *, has_pods: bool) -> str | None:
        """Return an address of a node, or None while none is known.

        Args:
            has_pods: whether the service has ready pods, so that its node port should respond.
        """
        port = service["spec"]["ports"][0].get("nodePort")
        return self._find_node(port) if port is not None and has_pods else self._known_node

    @property
    def _known_node(self) -> str | None:
        return self._settings.node_address or self._node_address

    def target(self, service: Object, pods: Sequence[Object]) -> Target | str:
        """Return the way to the ready pods of a service, or why there is none."""
        names = [pod["metadata"]["name"] for pod in pods]
        if not names:
            return "No pod of this service is ready."
        spec = service["spec"]
        if self._settings.reach == "cluster-ip" or (self._settings.reach == "auto" and in_pod()):
            return Target("its cluster address", (spec["clusterIP"], spec["ports"][0]["port"]))
        port = spec["ports"][0].get("nodePort")
        if self.uses_node_ports and port is not None and (address := self._find_node(port)):
            return Target(f"node port {address}:{port}", (address, port))
        if self._settings.reach == "node-port":
            return "No node responds at the node port of this service; set node-address, or another reach."
        return self._forwards.target(names)

    def _find_node(self, port: int) -> str | None:
        """Return an address at which node ports respond. Addresses that do not are tried again later."""
        if self._known_node is not None:
            return self._known_node
        if time.monotonic() >= self._try_at:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._try_at = time.monotonic() + self._pause
            self._node_address = next((one for one in self._candidates() if _responds(one, port)), None)
        return self._node_address

    def _candidates(self) -> Iterable[str]:
        """Yield addresses of nodes, and the address of the API server, which small clusters run on their node."""
        yield urlsplit(self._connection.server).hostname or ""
        try:
            nodes = self._connection.request("GET", "/api/v1/nodes")["items"] or ()
        except ClusterError:  # not everybody may see nodes
            return
        for node in nodes[:3]:
            for kind in _ADDRESSES:
                yield from (each["address"] for each in node["status"].get("addresses", []) if each["type"] == kind)


def responds(target: Target) -> bool:
    """Return whether a replica responds at an address; port-forwards, which have none, are tried with each
    connection."""
    return target.address is None or _responds(*target.address)


def _responds(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _TRY_SECONDS) as connection:
            connection.settimeout(_TRY_SECONDS)
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(12).startswith(b"HTTP/1.1 200")
    except (OSError, UnicodeError):
        return False


class _PortForwards:
    """Connections to pods through the API server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = itertools.count()

    def target(self, pods: Sequence[str]) -> Target:
        return Target("a port-forward", connect=lambda: self._connect(pods[next(self._turn) % len(pods)]))

    def _connect(self, pod: str) -> socket.socket:
        """Return a socket that is connected to a pod.

        Raises:
            OSError: the API server or the pod does not accept it.
        """
        load_library()
        from kubernetes import client
        from kubernetes.stream import portforward

        try:
            # The client is patched while it connects a forward.
            with self._connection.cluster_errors():
                api = client.CoreV1Api(self._connection.new_client())
                forward = portforward(
                    api.connect_get_namespaced_pod_portforward,
                    pod,
                    self._connection.namespace,
                    ports=str(SCORING_PORT),
                )
        except ClusterError as error:
            raise OSError(error.message) from error
        connected: socket.socket = forward.socket(SCORING_PORT)
        return connected
