"""One replica as a container: created, started, controlled over its standard input and output, and removed.

On an engine of this machine, the replica receives the service's listening socket through a UNIX socket in a folder
that only its container mounts, so its clients need no proxy. When the service dies, the standard input
ends, and so does the replica.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlmgmt_nb.scoring.recording.settings import FOLDER
from mlmgmt_nb.service.building.built_image import BuiltImage
from mlmgmt_nb.service.building.docker.dockerfile import COMMAND, SCORING_PORT
from mlmgmt_nb.service.building.docker.images import EngineImages
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.compute.base import Exit, Launch
from mlmgmt_nb.service.compute.cgroups import LEFT_OVER
from mlmgmt_nb.service.compute.forwarding.forwarder import Forwarder
from mlmgmt_nb.service.compute.observed import ReplicaState
from mlmgmt_nb.service.compute.supervised_replica import LONGEST_LOOK, SupervisedReplica
from mlmgmt_nb.service.docker_engine import AttachedStreams, Engine, EngineError

__all__ = ["ReplicaContainer"]

_RUN = "/run/mlmgmt"
_DATA = "/mlmgmt/data"
_RECORDINGS = "/mlmgmt/requests"
_SOCKET = "listener.sock"
_TICK_SECONDS = 0.5
_PASSED_ON = ("APPLICATIONINSIGHTS_CONNECTION_STRING", "AML_APP_INSIGHTS_KEY", "SCORING_FAST_PATH")
"""Variables of the service's environment that replicas also get: they configure telemetry and the scoring runtime."""


class ReplicaContainer(SupervisedReplica):
    """A replica in a container.

    Args:
        launch: parameters of the replica.
        sockets: its listening sockets by name, its own first.
        on_change: see `SupervisedReplica`.
        engine: the engine that runs the container.
        images: pulls the image if necessary.
        folder: a private folder, which is created and removed.
        labels: labels of the container.
    """

    def __init__(
        self,
        replica_id: str,
        launch: Launch,
        sockets: Mapping[str, socket.socket],
        on_change: Callable[[SupervisedReplica], None],
        engine: Engine,
        images: EngineImages,
        folder: Path,
        labels: Mapping[str, str],
    ) -> None:
        super().__init__(replica_id, launch, on_change)
        # Duplicates, which stay valid while this replica starts, whatever happens to the service.
        self._sockets = {name: listener.dup() for name, listener in sockets.items()}
        self._engine = engine
        self._images = images
        self._folder = folder
        self._labels = labels
        self._container_id: str | None = None
        self._attached: AttachedStreams | None = None
        self._forwarder: Forwarder | None = None
        self._pending = b""
        self._ending = False
        self._lock = threading.Lock()
        self.send_start(list(sockets))

    def _transmit(self, line: bytes) -> None:
        with self._lock:
            if self._attached is None:
                self._pending += line
            else:
                self._attached.send(line)

    def _end(self) -> None:
        with self._lock:
            self._ending = True
            container_id = self._container_id
        if container_id is not None:
            # The engine may be slow, and the caller must not wait.
            threading.Thread(target=self._kill, args=(container_id,), name="container-kill", daemon=True).start()

    def _kill(self, container_id: str) -> None:
        with contextlib.suppress(EngineError), self._engine.engine_errors():
            self._engine.api.kill(container_id)

    def _watch(self) -> None:
        try:
            ended = self._run()
        except BuildError as error:
            ended = self._exit(error.code, error.message)
        except OSError as error:
            ended = self._exit(getattr(error, "code", "StartFailed"), f"The container cannot be run: {error}")
        if self.state in {ReplicaState.DRAINING, ReplicaState.ENDING}:
            ended = None
        self._clean()
        self._ended(ended)

    def _run(self) -> Exit | None:
        """Run the container until it ends."""
        built = BuiltImage.of(self.launch.context)
        if built is None:
            raise BuildError(
                "NoDockerImage",
                "The image was not built for compute docker; create an image for it and update the service.",
            )
        image_id = self._images.ensure(built, self.launch.log)
        with self._engine.engine_errors():
            shared = self._engine.is_local()
            self._folder.mkdir(parents=True)
            container_id = self._create(image_id, shared=shared)
            attached = self._engine.attach(container_id)
            with contextlib.closing(attached):
                with self._lock:
                    if self._ending:
                        return self._explain(0)
                    self._container_id = container_id
                with contextlib.ExitStack() as stack:
                    if shared:
                        stack.enter_context(_SocketHandover(self._folder / _SOCKET, list(self._sockets.values())))
                    self._engine.api.start(container_id)
                    self._begin(attached)
                    if not shared:
                        self._forwarder = stack.enter_context(contextlib.closing(self._make_forwarder(container_id)))
                        self._update_forwarding()
                    self._pump(attached)
            self._on_hangup()
            return self._outcome(container_id)

    def _begin(self, attached: AttachedStreams) -> None:
        with self._lock:
            attached.send(self._pending)
            self._attached = attached

    def _pump(self, attached: AttachedStreams) -> None:
        looked = time.monotonic()
        for is_message, data in attached.frames():
            if is_message:
                self._receive(data)
            elif data:
                self.launch.log.append(data)
            before, looked = looked, time.monotonic()
            self.silence += min(looked - before, LONGEST_LOOK)

    def _outcome(self, container_id: str) -> Exit | None:
        """Return why the container ended."""
        state = self._engine.api.wait(container_id) and self._engine.api.inspect_container(container_id)["State"]
        code = int(state["ExitCode"])
        if state.get("OOMKilled") and self._explain(0) is not None:
            return self._out_of_memory()
        # The exit code of a process that a signal ended is 128 plus the number of the signal.
        return self._explain(128 - code if code > 128 else code)

    def _create(self, image_id: str, *, shared: bool) -> str:
        launch = self.launch
        api = self._engine.api
        command = [*COMMAND, "--control-stdio"]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(launch.environment)
        binds: dict[str, dict[str, str]] = {}
        if shared:
            command += ["--listener", f"{_RUN}/{_SOCKET}"]
            binds[str(self._folder)] = {"bind": _RUN, "mode": "ro"}
            storage = environment.get("AML_MODEL_DC_STORAGE", str(launch.data))
            if environment.get("AML_MODEL_DC_STORAGE_ENABLED") == "true" and storage.startswith("/"):
                _open_to_all(Path(storage))
                environment["AML_MODEL_DC_STORAGE"] = _DATA
                binds[storage] = {"bind": _DATA, "mode": "rw"}
            if launch.recordings is not None:
                _open_to_all(launch.recordings)
                environment[FOLDER] = _RECORDINGS
                binds[str(launch.recordings)] = {"bind": _RECORDINGS, "mode": "rw"}
        else:
            command += ["--host", "0.0.0.0", "--port", str(SCORING_PORT)]  # noqa: S104 - inside of a container
        host = api.create_host_config(
            binds=binds,
            port_bindings={} if shared else {SCORING_PORT: (self._engine.publish_address, None)},
            # The reconciler restarts replicas, with a back-off; restarts by the engine would only interfere.
            restart_policy={"Name": "no"},
            # As on local compute: a CPU share that applies when cores are scarce, and memory that is also the limit.
            cpu_shares=max(2, round(LEFT_OVER * 1024 if launch.cpus is None else launch.cpus * 1024)),
            mem_limit=launch.memory_bytes,
            memswap_limit=launch.memory_bytes,
            cap_drop=["ALL"],
            security_opt=self._security(),
            log_config={"Type": "json-file", "Config": {"max-size": "4m", "max-file": "2"}},
        )
        container = api.create_container(
            image_id,
            command,
            entrypoint=[],
            name=f"mlmgmt-{launch.name}-{self._folder.name}",
            environment=environment,
            stdin_open=True,
            ports=[] if shared else [SCORING_PORT],
            host_config=host,
            labels={**self._labels, "mlmgmt-nb.service": launch.name, "mlmgmt-nb.deployment": launch.deployment_id},
            # The replica reports when it is ready, and its socket does not accept health checks.
            healthcheck={"test": ["NONE"]},
        )
        return str(container["Id"])

    def _security(self) -> list[str]:
        options = ["no-new-privileges"]
        if any("selinux" in option for option in self._engine.api.info().get("SecurityOptions") or ()):
            # SELinux would keep the container from the socket of a process outside.
            options.append("label=disable")
        return options

    def _enter(self, state: ReplicaState) -> None:
        super()._enter(state)
        self._update_forwarding()

    def _update_forwarding(self) -> None:
        """Forward connections while the replica is ready."""
        if self._forwarder is not None and self.state is ReplicaState.READY:
            self._forwarder.open()
        elif self._forwarder is not None:
            self._forwarder.stop_accepting()

    def _make_forwarder(self, container_id: str) -> Forwarder:
        """Return the forwarder of a replica that cannot receive the socket itself."""
        ports: Any = self._engine.api.inspect_container(container_id)["NetworkSettings"]["Ports"]
        published = (ports.get(f"{SCORING_PORT}/tcp") or [{}])[0]
        if "HostPort" not in published:
            raise EngineError("NotPublished", "The engine has not published the port of the replica.")
        return Forwarder(next(iter(self._sockets.values())), (self._engine.host, int(published["HostPort"])))

    def _clean(self) -> None:
        for listener in self._sockets.values():
            listener.close()
        if self._container_id is not None:
            with contextlib.suppress(EngineError):
                self._engine.remove(self._container_id)
        shutil.rmtree(self._folder, ignore_errors=True)


class _SocketHandover:
    """Passes open sockets to the one process that connects to a UNIX socket. Earlier runtimes take only the first."""

    def __init__(self, path: Path, given: Sequence[socket.socket]) -> None:
        self._given = given
        self._over = False
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Through the open folder: the path of the state folder may exceed the maximum length of a socket path.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._door.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        # The container runs as another user. The state folder is private, so no other user gets here.
        path.parent.chmod(0o755)
        path.chmod(0o666)
        self._door.listen(1)
        self._door.settimeout(_TICK_SECONDS)
        self._thread = threading.Thread(target=self._give, name="hand-over", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def _give(self) -> None:
        with self._door:
            while not self._over:
                with contextlib.suppress(TimeoutError):
                    taker, _ = self._door.accept()
                    with taker, contextlib.suppress(OSError):
                        socket.send_fds(taker, [b"\0"], [listener.fileno() for listener in self._given])
                    return

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()


def _open_to_all(folder: Path) -> None:
    """Let the user of a container write here. The state folder around it is private."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
