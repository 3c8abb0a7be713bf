"""Where connections of services go: from their ports here to their ready pods."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Mapping

from mlmgmt_nb.service.compute.declared.protocol import ObservedService, StoppedError
from mlmgmt_nb.service.compute.forwarding.relay import Relay, Target, Wait
from mlmgmt_nb.service.compute.forwarding.relayed_connection import Take
from mlmgmt_nb.service.compute.kubernetes.declaring.naming import SERVICE
from mlmgmt_nb.service.compute.kubernetes.observing.observation import Listed, ready_pods
from mlmgmt_nb.service.compute.kubernetes.reaching.reach import PodReach, responds
from mlmgmt_nb.service.compute.listeners import Listeners

__all__ = ["Directions"]


_PRIVATE = "pods"
"""Key of the private socket of a service: one for all of its deployments."""
_ASLEEP = Wait("No pod of this service became ready in time.")


class Directions:
    """The open ports of the services of a cluster.

    Args:
        reach: finds the way to pods.
        listeners: the ports of all services.
        on_waiting: called when a connection waits for pods.
        drain_seconds: time limit for requests in progress when all ports are closed.
    """

    def __init__(
        self, reach: PodReach, listeners: Listeners, on_waiting: Callable[[], None], drain_seconds: float
    ) -> None:
        self._reach = reach
        self._listeners = listeners
        self._drain_seconds = drain_seconds
        self._on_waiting = on_waiting
        # The supervisor opens and closes ports, and threads of the API end a cluster whose settings have changed.
        self._lock = threading.Lock()
        self._relay: Relay | None = None
        self._ending: Relay | None = None
        self._opened: set[str] = set()
        self._is_retired = False

    def __contains__(self, service_id: str) -> bool:
        return service_id in self._opened

    def open(self, service_id: str, port: int | None) -> int:
        """Accept connections to a service at the given port, or a free one, and return it.

        Raises:
            OSError: the given port is taken, or no port is free.
            StoppedError: all ports were closed for good.
        """
        with self._lock:
            if self._is_retired:
                raise StoppedError
            opened = self._listeners.open(service_id, port)
            self._opened.add(service_id)
            if self._relay is None:
                self._relay = Relay(self._on_waiting)
            self._relay.listen(service_id, self._listeners[service_id])
            return opened

    def private_port(self, service_id: str) -> int:
        """Return the port of an open service that only this machine reaches. It is opened at the first use."""
        with self._lock:
            relay = self._running()
            port = self._listeners.private_port(service_id, _PRIVATE)
            if port is None:
                opened = self._listeners.private(service_id, _PRIVATE)
                relay.listen(service_id, opened, is_private=True)
                port = int(opened.getsockname()[1])
            return port

    def divert(self, service_id: str, take: Take) -> None:
        """Leave the connections to an open service to others, from their next request on."""
        with self._lock:
            self._running().divert(service_id, take)

    def accept(self, service_id: str) -> None:
        """Accept connections to an open service again."""
        with self._lock:
            self._running().listen(service_id, self._listeners[service_id])

    def socket_of(self, service_id: str) -> socket.socket:
        with self._lock:
            self._running()
            return self._listeners[service_id]

    def _running(self) -> Relay:
        """Return the relay of the open services.

        Raises:
            StoppedError: all ports were closed meanwhile.
        """
        if self._relay is None:
            raise StoppedError
        return self._relay

    def close(self, service_id: str) -> None:
        """Stop accepting connections to a service; existing ones continue."""
        with self._lock:
            if service_id in self._opened and self._relay is not None:
                self._opened.discard(service_id)
                self._listeners.close(service_id)
                self._relay.close(service_id)

    def retire(self) -> None:
        """Close all ports for good, and return immediately: another cluster may open them at once.

        Requests in progress are completed meanwhile.
        """
        with self._lock:
            self._is_retired = True
        self._close_all()

    def stop(self) -> None:
        """Close all ports, and end all connections after the requests in progress."""
        self._close_all()
        if (ending := self._ending) is not None:
            ending.join()

    def _close_all(self) -> None:
        with self._lock:
            for service_id in self._opened:
                self._listeners.close(service_id)
            self._opened.clear()
            if self._relay is not None:
                self._ending, self._relay = self._relay, None
                self._ending.drain(self._drain_seconds)

    def update(self, listed: Listed, services: Mapping[str, ObservedService], scaled: Collection[str]) -> None:
        """Direct connections to the pods that are ready now.

        Args:
            services: the observed services.
            scaled: services that a request can wake: connections wait for their first pod, unless it cannot start.
        """
        relay = self._relay
        if relay is None:
            return
        for service in listed.objects["Service"]:
            service_id = service["metadata"]["labels"][SERVICE]
            pods = [pod for pod in ready_pods(listed.pods) if pod["metadata"]["labels"].get(SERVICE) == service_id]
            target: Target | Wait | str
            target = _usable(self._reach.target(service, pods), relay.target_of(service_id))
            seen = services[service_id]
            if service_id in scaled and (seen.replicas == 0 or isinstance(target, str)):
                target = seen.cause.message if seen.cause and seen.cause.is_certain else _ASLEEP
            relay.set_target(service_id, target)

    def hold(self, service_id: str) -> None:
        """Let new connections wait because the last pod of a service is about to end."""
        if (relay := self._relay) is not None:
            relay.set_target(service_id, _ASLEEP)

    def has_waiting(self, service_id: str) -> bool:
        """Return whether a connection waits for a pod of a service."""
        relay = self._relay
        return relay is not None and relay.has_waiting(service_id)

    def obstacle(self, service_id: str) -> str | None:
        """Return why requests to a service do not reach its pods, or None."""
        relay = self._relay
        target = relay.target_of(service_id) if relay else None
        return target.reason if isinstance(target, Wait) else target if isinstance(target, str) else None


def _usable(target: Target | str, before: Target | Wait | str | None) -> Target | str:
    """Return a target, or why not. A new address is used once it responds, because nodes learn of it a little later.

    The same port at another address is used at once, as that of another node: connections try it until a pod answers.
    """
    if isinstance(target, str) or (isinstance(before, Target) and _port_of(before) == _port_of(target)):
        return target
    return target if responds(target) else f"The pods do not respond at {target.shown} yet."


def _port_of(target: Target) -> int | None:
    return target.address and target.address[1]
