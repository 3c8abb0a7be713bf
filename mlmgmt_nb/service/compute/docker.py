"""Compute `docker`: replicas are containers of a Docker engine, which share their service's listening socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from mlmgmt_nb.service.building.docker.images import EngineImages
from mlmgmt_nb.service.compute.base import Capacity, Launch
from mlmgmt_nb.service.compute.container import ReplicaContainer
from mlmgmt_nb.service.compute.listeners import Listeners
from mlmgmt_nb.service.compute.local import replicas_for
from mlmgmt_nb.service.compute.shared_socket import SharingCompute
from mlmgmt_nb.service.compute.supervised_replica import SupervisedReplica
from mlmgmt_nb.service.compute_ids import DOCKER
from mlmgmt_nb.service.docker_engine import HOME_LABEL, Engine, EngineError

__all__ = ["DockerCompute"]

_SESSION_LABEL = "mlmgmt-nb.session"
_REPLICA_LABEL = "mlmgmt-nb.replica"
_SWEEP_SECONDS = 5.0


class DockerCompute(SharingCompute[ReplicaContainer]):
    """Replicas as containers.

    Containers that the service lost, in a crash or because the engine was unavailable, end by themselves because their
    standard input ends; they are removed as soon as the engine responds.

    Args:
        listeners, on_change: see `SharingCompute`.
        images: pulls images if necessary.
        sweep_builds: removes containers of builds that no process works on.
        folder: parent of the folders of replicas.
        folder_id: identifies the state folder among others on the same engine.
    """

    def __init__(
        self,
        listeners: Listeners,
        engine: Engine,
        images: EngineImages,
        sweep_builds: Callable[[], None],
        folder: Path,
        folder_id: str,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(f"{DOCKER}-", listeners, on_change)
        self._engine = engine
        self._images = images
        self._sweep_builds = sweep_builds
        self._folder = folder
        self._folder_id = folder_id
        self._session = uuid.uuid4().hex[:8]
        self._sweeping = threading.Lock()

    def capacity(self) -> Capacity:
        try:
            with self._engine.engine_errors():
                info = self._engine.api.info()
            cpus, memory = float(info["NCPU"]), int(info["MemTotal"])
        except EngineError:
            # Requests that need more are refused elsewhere; this only counts the replicas that already run.
            cpus, memory = float(os.cpu_count() or 1), psutil.virtual_memory().total
        return Capacity(cpus=cpus, memory_bytes=memory, replicas=replicas_for(memory))

    def _make(self, replica_id: str, launch: Launch, sockets: Mapping[str, socket.socket]) -> ReplicaContainer:
        labels = {HOME_LABEL: self._folder_id, _SESSION_LABEL: self._session, _REPLICA_LABEL: replica_id}
        folder = self._folder / f"{self._session}-{replica_id}"
        return ReplicaContainer(replica_id, launch, sockets, self._changed, self._engine, self._images, folder, labels)

    def _forget(self, replica: SupervisedReplica) -> None:
        if replica.exit is not None:
            # Its container may still exist if the engine became unavailable.
            self.sweep()

    def sweep(self) -> None:
        """Remove containers that no process supervises, in the background, as soon as the engine responds."""
        threading.Thread(target=self._sweep, name="container-sweep", daemon=True).start()

    def _sweep(self) -> None:
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            while True:
                with contextlib.suppress(EngineError):
                    self._remove_strays()
                    return
                time.sleep(_SWEEP_SECONDS)
        finally:
            self._sweeping.release()

    def _remove_strays(self) -> None:
        with self._engine.engine_errors():
            own = self._engine.api.containers(all=True, filters={"label": f"{HOME_LABEL}={self._folder_id}"})
        for container in own:
            labels = container["Labels"]
            if labels.get(_SESSION_LABEL) != self._session or labels.get(_REPLICA_LABEL) not in self._replicas:
                self._engine.remove(container["Id"])
        self._sweep_builds()
