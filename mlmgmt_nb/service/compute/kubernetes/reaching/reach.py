"""How requests reach the pods of services: by a cluster address, a node port, or a port-forward.

With port-forwards, each connection goes through the API server to the next ready pod.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from typing import Any

from mlmgmt_nb.service.building.docker.dockerfile import SCORING_PORT
from mlmgmt_nb.service.cluster_settings import ClusterSettings
from mlmgmt_nb.service.compute.forwarding.relay import Target
from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection, in_pod
from mlmgmt_nb.service.compute.kubernetes.api.library import load_library
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed, ready_pods
from mlmgmt_nb.service.compute.kubernetes.reaching.nodes import NodeAddress, responds_at

__all__ = ["PodReach", "responds"]

Object = dict[str, Any]


class PodReach:
    """Finds the way to pods."""

    def __init__(self, connection: Connection, settings: ClusterSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._nodes = NodeAddress(connection, settings.node_address)
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
        return self._nodes.find(port) if port is not None and has_pods else self._nodes.known

    def check(self, listed: Listed) -> None:
        """Look for another node if the one in use no longer responds: once a round, before any service is directed."""
        ready = {pod["metadata"]["labels"][SERVICE] for pod in ready_pods(listed.pods)}
        found = [each for each in listed.objects["Service"] if each["metadata"]["labels"][SERVICE] in ready]
        ports = [each["spec"]["ports"][0].get("nodePort") for each in found]
        self._nodes.check([port for port in ports if port is not None])

    def target(self, service: Object, pods: Sequence[Object]) -> Target | str:
        """Return the way to the ready pods of a service, or why there is none."""
        names = [pod["metadata"]["name"] for pod in pods]
        if not names:
            return "No pod of this service is ready."
        spec = service["spec"]
        if self._settings.reach == "cluster-ip" or (self._settings.reach == "auto" and in_pod()):
            return Target("its cluster address", (spec["clusterIP"], spec["ports"][0]["port"]))
        port = spec["ports"][0].get("nodePort")
        if self.uses_node_ports and port is not None and (address := self._nodes.find(port)):
            return Target(f"node port {address}:{port}", (address, port))
        if self._settings.reach == "node-port":
            return "No node responds at the node port of this service; set node-address, or another reach."
        return self._forwards.target(names)


def responds(target: Target) -> bool:
    """Return whether a replica responds at an address; port-forwards, which have none, are tried with each
    connection."""
    return target.address is None or responds_at(*target.address)


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
