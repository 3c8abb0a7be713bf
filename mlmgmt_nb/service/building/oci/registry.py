"""Repositories of registries: images are pulled from them and pushed to them without a Docker engine."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.media import Descriptor, digest_of, select_manifest
from mlmgmt_nb.service.docker_engine import root_cause
from mlmgmt_nb.service.files.logs import Log

__all__ = ["Repository", "check_registry"]

_TIMEOUT_SECONDS = 60.0
_CHECK_SECONDS = 3.0
_CHUNK_BYTES = 2**20
_MOST_CHARACTERS = 500
_ODD = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""Errors that `dxf` raises for invalid responses, which lack a header or have a value of another type."""
_DOCKER_HUB = "registry-1.docker.io"


class Repository:
    """A repository of a registry.

    The credentials are those of `docker login`, or of its credential helpers. Registries of this machine are used
    without TLS, as Docker does.

    Args:
        name: the name of the repository: `python`, or `registry.example.org:5000/team/iris`.
    """

    def __init__(self, name: str) -> None:
        import docker.auth
        import docker.errors

        self.name = name
        try:
            self._index, path = docker.auth.resolve_repository_name(name)
        except docker.errors.InvalidRepository as error:
            raise BuildError("BadImage", f"{name} is not the name of a repository: {error}.") from error
        self.host = _DOCKER_HUB if self._index == docker.auth.INDEX_NAME else self._index
        self._client = _client(self.host, path, self._login, is_plain=_is_loopback(self.host))

    def _login(self) -> tuple[str, str] | None:
        """Return user and password for the registry; None without credentials."""
        import docker.auth
        import docker.errors

        try:
            found = docker.auth.load_config().resolve_authconfig(self._index) or {}
        except docker.errors.DockerException as error:
            raise BuildError(
                "NoCredentials", f"The credentials for {self.host} cannot be read: {error}. Run `docker login`."
            ) from error
        # Credential helpers return capitalized names; the file has names in lower case.
        login = {name.lower(): value for name, value in found.items()}
        if login.get("identitytoken"):
            raise BuildError(
                "NoCredentials",
                f"The credentials for {self.host} are an identity token, which only a Docker engine can use. Run "
                f"`docker login -u USER {self._index}` with a password or an access token.",
            )
        user, password = login.get("username"), login.get("password")
        return (user, password) if user and password else None

    def manifest(self, reference: str) -> bytes:
        """Return the manifest of a tag or digest, for Linux on this machine's architecture.

        Raises:
            BuildError: the manifest does not exist, or not for this platform.
        """
        name = f"{self.name}{'@' if reference.startswith('sha256:') else ':'}{reference}"
        return select_manifest(
            self._document(reference, name), f"The image {name}", lambda found: self._document(found.digest, name)
        )

    def _document(self, reference: str, name: str) -> bytes:
        with self._registry_errors(f"The image {name} cannot be pulled"):
            text, _ = self._client.get_manifest_and_response(reference)
        content: bytes = text.encode()
        if reference.startswith("sha256:") and digest_of(content) != reference:
            raise BuildError("BadImage", f"The image {name}: the registry returned another manifest.")
        return content

    def pull(self, content: Descriptor, blobs: BlobStore, log: Log, cancellation: Cancellation) -> None:
        """Pull content into the store unless it has the content.

        Raises:
            BuildError: the content cannot be pulled, or is damaged.
        """
        if blobs.has(content):
            return
        log.line(f"pulling {content.digest} ({content.size:,} bytes)")
        with self._registry_errors(f"The image {self.name} cannot be pulled"):
            blobs.add(content, _checked(self._client.pull_blob(content.digest, chunk_size=_CHUNK_BYTES), cancellation))

    def push(self, content: Descriptor, blobs: BlobStore, cancellation: Cancellation, other: str | None = None) -> bool:
        """Send content unless the registry has it; return whether it was sent.

        Args:
            other: name of another repository that may have the content, to mount it from if it is in the same registry.

        Raises:
            BuildError: the content cannot be pushed.
        """
        with self._registry_errors(f"{self.name} cannot be pushed"):
            if self._has(content.digest):
                return False
            if other is not None and self._mount(content, other):
                return False
            chunks = _SizedReader(_checked(blobs.chunks(content), cancellation), content.size)
            self._client.push_blob(data=chunks, digest=content.digest, check_exists=False)
        return True

    def _mount(self, content: Descriptor, other: str) -> bool:
        """Mount content of another repository of the registry; return False if the registry does not do this."""
        import requests
        from dxf import exceptions

        found = _resolved(other)
        if found is None or found[0] != self._index:
            return False
        with contextlib.suppress(requests.HTTPError, exceptions.DXFError):
            self._client.mount_blob(found[1], content.digest)
            return True
        return False

    def _has(self, digest: str) -> bool:
        import requests

        try:
            self._client.blob_size(digest)
        except requests.HTTPError as error:
            if error.response.status_code == 404:
                return False
            raise
        except (KeyError, ValueError):  # the content exists; the response lacks a Content-Length
            return True
        return True

    def push_manifest(self, tag: str, manifest: bytes) -> None:
        """Push the manifest of an image whose contents the registry has, and tag it.

        Raises:
            BuildError: the registry refused it.
        """
        with self._registry_errors(f"{self.name}:{tag} cannot be pushed"):
            self._client.set_manifest(tag, manifest.decode())

    @contextlib.contextmanager
    def _registry_errors(self, failed: str) -> Iterator[None]:
        """Turn errors of the registry into BuildError."""
        import requests
        from dxf import exceptions

        try:
            yield
        except exceptions.DXFUnauthorizedError as error:
            message = f"{failed}: {self.host} requires other credentials. Run `docker login {self._index}`."
            raise BuildError("RegistryRefused", message) from error
        except requests.HTTPError as error:
            raise BuildError("RegistryRefused", f"{failed}: {_reason(error.response)}.") from error
        except (requests.RequestException, exceptions.DXFError) as error:
            raise BuildError("RegistryUnavailable", f"{failed}: {self.host}: {root_cause(error)}.") from error
        except _ODD as error:
            message = f"{failed}: the response of {self.host} cannot be understood: {type(error).__name__}: {error}."
            raise BuildError("RegistryUnavailable", message) from error


class _SizedReader:
    """Chunks of content of known size, so that the request has a `Content-Length`."""

    def __init__(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks = chunks
        self.len = size

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def _checked(chunks: Any, cancellation: Cancellation) -> Iterator[bytes]:
    for chunk in chunks:
        cancellation.check()
        yield chunk


def _resolved(name: str) -> tuple[str, str] | None:
    """Return the registry and the path of a repository; None if the name is not one."""
    import docker.auth
    import docker.errors

    try:
        index, path = docker.auth.resolve_repository_name(name)
    except docker.errors.InvalidRepository:
        return None
    return index, path


def _client(host: str, path: str, login: Callable[[], tuple[str, str] | None], *, is_plain: bool) -> Any:
    """Return the client of a repository."""
    from dxf import DXF, DXFBase

    class Client(DXF):
        """A client that also signs in without TLS, to registries of this machine."""

        def sign_in(self, response: Any) -> None:
            found = login()
            if is_plain and found and "basic" in response.headers.get("www-authenticate", "").lower():
                token = base64.b64encode(":".join(found).encode()).decode()
                self._headers = {"Authorization": f"Basic {token}"}
            elif not is_plain:
                user, password = found or (None, None)
                self.authenticate(user, password, response=response)

    def sign_in(client: DXFBase, response: Any) -> None:
        assert isinstance(client, Client)
        client.sign_in(response)

    return Client(host, path, auth=sign_in, insecure=is_plain, timeout=_TIMEOUT_SECONDS)


def check_registry(registry: str) -> None:
    """Check that a registry responds. Its name may have a path after the host.

    Raises:
        BuildError: it does not respond.
    """
    import requests

    host = registry.partition("/")[0]
    try:
        requests.get(f"{'http' if _is_loopback(host) else 'https'}://{host}/v2/", timeout=_CHECK_SECONDS)
    except requests.RequestException as error:
        raise BuildError(
            "RegistryUnavailable", f"The registry {host} does not respond: {root_cause(error)}."
        ) from error


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] or host
    return name == "localhost" or name.startswith("127.") or name == "[::1]"


def _reason(response: Any) -> str:
    """Return the reason that the registry gives for a refusal."""
    with contextlib.suppress(*_ODD):
        first = response.json()["errors"][0]
        return f"{first['code']}: {first['message']}"[:_MOST_CHARACTERS]
    return f"{response.status_code} {response.reason}"
