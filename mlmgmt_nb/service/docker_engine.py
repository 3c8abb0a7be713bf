"""The Docker engine: discovery, requests, and its errors as messages for the user.

Any engine with Docker's API works: Docker, Docker Desktop, or Podman's compatible socket.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["HOME_LABEL", "AttachedStreams", "Engine", "EngineError", "is_unavailable", "root_cause"]

HOME_LABEL = "mlmgmt-nb.home"
"""Label of the containers of a state folder."""
_TIMEOUT_SECONDS = 60
_REMEDY = (
    "Install one (apt-get install docker.io, Docker Desktop, or Podman with its socket), start it, give your user "
    "access to it (group docker), or set DOCKER_HOST. Compute `local` works without it, and images are also built "
    "without it (mlmgmt image create --compute-resource-id docker)."
)
_SOCKETS = (
    "/var/run/docker.sock",
    "~/.docker/run/docker.sock",
    "~/.docker/desktop/docker.sock",
    "~/.colima/default/docker.sock",
    "{runtime}/docker.sock",
    "{runtime}/podman/podman.sock",
    "/run/podman/podman.sock",
)
"""Default sockets of engines: Docker, Docker Desktop, Colima, rootless Docker, and Podman."""
_FRAME = struct.Struct(">BxxxL")
_OUTPUT = 1
_READ_BYTES = 2**16
_TICK_SECONDS = 1.0


class EngineError(OSError):
    """The engine cannot be reached, or refused the request. `code` is machine-readable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def is_unavailable(error: Exception) -> bool:
    """Return whether a call failed because the engine is unavailable, not because of its response."""
    import requests

    return isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout)


class Engine:
    """A Docker engine. The connection is made on first use.

    Args:
        environment: variables; if DOCKER_HOST is not among them, the current context of Docker's configuration and then
            the default sockets are tried.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = dict(os.environ) if environment is None else environment
        self._lock = threading.Lock()
        self._api: Any = None
        self._url = ""

    @property
    def api(self) -> Any:
        """Return Docker's low-level client.

        Raises:
            EngineError: no engine responds.
        """
        with self._lock:
            if self._api is None:
                self._api = self._connect()
            return self._api

    def check(self) -> None:
        """Raise EngineError unless the engine responds."""
        with self.engine_errors():
            self.api.ping()

    @contextlib.contextmanager
    def engine_errors(self) -> Iterator[None]:
        """Turn errors of Docker's client into EngineError."""
        # Imported when an engine is first used: most services do not use an engine.
        import docker.errors
        import requests

        try:
            yield
        except docker.errors.APIError as error:
            raise EngineError(
                "EngineRefused", f"The Docker engine refused the request: {error.explanation or error}"
            ) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise self._missing(str(error)) from error

    def _missing(self, reason: str) -> EngineError:
        return EngineError("NoEngine", f"No Docker engine responds ({reason}). {_REMEDY}")

    def _connect(self) -> Any:
        import docker
        import docker.errors
        import docker.utils
        import requests

        reasons = []
        for url in self._candidates():
            options: dict[str, Any] = {"base_url": url}
            if url == self._environment.get("DOCKER_HOST"):
                options = docker.utils.kwargs_from_env(self._environment)
            try:
                api = docker.APIClient(version="auto", timeout=_TIMEOUT_SECONDS, **options)
                api.ping()
            except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
                reasons.append(f"{url}: {root_cause(error)}")
                continue
            self._url = url
            return api
        raise self._missing("; ".join(reasons) or "no socket in the default locations")

    def _candidates(self) -> Iterator[str]:
        if host := self._environment.get("DOCKER_HOST"):
            yield host
            return
        if url := self._of_context():
            yield url
            return
        runtime = self._environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        for place in _SOCKETS:
            path = Path(place.format(runtime=runtime)).expanduser()
            if path.is_socket():
                yield f"unix://{path}"

    def _of_context(self) -> str | None:
        """Return the engine of the context chosen with `docker context use`."""
        from docker.context import ContextAPI
        from docker.errors import DockerException

        try:
            name = self._environment.get("DOCKER_CONTEXT") or ContextAPI.get_current_context().name
            context = None if name in {None, "default"} else ContextAPI.get_context(name)
        except (DockerException, OSError, ValueError, KeyError):
            return None
        return str(context.Host) if context is not None and context.Host else None

    def is_local(self) -> bool:
        """Return whether the engine runs on this kernel, so that its containers can receive open sockets.

        MLMGMT_DOCKER_FORWARD=1 disables this.
        """
        if not self._is_local or self._environment.get("MLMGMT_DOCKER_FORWARD") == "1":
            return False
        info = self.api.info()
        return (info.get("KernelVersion"), info.get("Name")) == (platform.release(), platform.node())

    def shares_files(self) -> bool:
        """Return whether its containers can use folders of this machine; False if the engine is not available."""
        try:
            with self.engine_errors():
                return self.is_local()
        except EngineError:
            return False

    @property
    def _is_local(self) -> bool:
        return self._url.startswith(("unix:", "/", "http+unix:"))

    @property
    def host(self) -> str:
        """Return the host where ports of its containers are published."""
        return "127.0.0.1" if self._is_local else urlsplit(self._url).hostname or "127.0.0.1"

    @property
    def publish_address(self) -> str:
        """Return the address to publish ports on: one that other machines cannot reach, if possible."""
        return "127.0.0.1" if self._is_local or self.host in {"127.0.0.1", "localhost"} else "0.0.0.0"  # noqa: S104

    def attach(self, container_id: str) -> AttachedStreams:
        """Connect to the standard input and both outputs of a container that has not been started yet."""
        with self.engine_errors():
            return AttachedStreams(
                self.api.attach_socket(container_id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            )

    def remove(self, container_id: str) -> None:
        """Remove a container, running or not; do nothing if it does not exist."""
        import docker.errors

        with contextlib.suppress(docker.errors.NotFound), self.engine_errors():
            try:
                self.api.remove_container(container_id, force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code != 409:  # its removal is in progress
                    raise


class AttachedStreams:
    """The streams of a container. Closing this end ends its standard input."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._socket = getattr(stream, "_sock", stream)
        with contextlib.suppress(AttributeError, OSError):
            self._socket.settimeout(_TICK_SECONDS)
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        """Write to the standard input of the container; do nothing if the container has ended."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.sendall(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def frames(self) -> Iterator[tuple[bool, bytes]]:
        """Yield the output of the container until it ends: whether a part is from standard output, and the part.

        Without output, yield an empty part every second.
        """
        pending = b""
        while (chunk := self._read()) is not None:
            pending += chunk
            if not chunk:
                yield False, b""
            while len(pending) >= _FRAME.size:
                kind, length = _FRAME.unpack_from(pending)
                end = _FRAME.size + length
                if len(pending) < end:
                    break
                yield kind == _OUTPUT, pending[_FRAME.size : end]
                pending = pending[end:]

    def _read(self) -> bytes | None:
        """Return received bytes: empty after a timeout, None at the end."""
        try:
            return self._socket.recv(_READ_BYTES) or None
        except TimeoutError:
            return b""
        except OSError:
            return None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._stream.close()


def root_cause(error: Exception) -> str:
    """Return the innermost reason of an error, which HTTP clients wrap several times."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
