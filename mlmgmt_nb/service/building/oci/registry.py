"""Repositories of registries: images are pulled from them and pushed to them without a Docker engine."""

from __future__ import annotations

import base64
import contextlib
import platform
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.media import (
    INDEX,
    INDEXES,
    MANIFEST,
    MANIFESTS,
    Descriptor,
    Index,
    Manifest,
    digest_of,
)
from mlmgmt_nb.service.files.logs import Log

__all__ = ["Pulled", "Repository", "machine"]

_TIMEOUT_SECONDS = 60.0
_CHUNK_BYTES = 2**20
_DOCKER_HUB = "registry-1.docker.io"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def machine() -> str:
    """Return the architecture of this machine, as images name it."""
    return _MACHINES.get(platform.machine(), platform.machine())


class Pulled(NamedTuple):
    """The manifest of an image, whose contents are in the blob store."""

    manifest: Manifest
    digest: str


class Repository:
    """A repository of a registry.

    The credentials are those of `docker login`, or of its credential helpers. Registries of this machine are used
    without TLS, as Docker does.

    Args:
        name: the name of the repository: `python`, or `registry.example.org:5000/team/iris`.
    """

    def __init__(self, name: str) -> None:
        import docker.auth

        self.name = name
        self._index, path = docker.auth.resolve_repository_name(name)
        self.host = _DOCKER_HUB if self._index == docker.auth.INDEX_NAME else self._index
        self._client = _client(self.host, path, self._login, is_plain=_is_here(self.host))

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
        user, password = found.get("username"), found.get("password")
        return (user, password) if user and password else None

    def manifest(self, reference: str) -> Pulled:
        """Return the manifest of a tag or digest, for Linux on this machine's architecture.

        Raises:
            BuildError: it does not exist, or not for this platform.
        """
        what = f"The image {self.name}:{reference}"
        with self._registry_errors(f"{what} cannot be pulled"):
            text, _ = self._client.get_manifest_and_response(reference)
        content = text.encode()
        if reference.startswith("sha256:") and digest_of(content) != reference:
            raise BuildError("BadImage", f"{what}: the registry returned another manifest.")
        try:
            kind = msgspec.json.decode(content, type=_Kind).kind
            if kind in INDEXES:
                index = msgspec.json.decode(content, type=Index)
                return self.manifest(_of_this_platform(index, what).digest)
            if kind in MANIFESTS:
                return Pulled(msgspec.json.decode(content, type=Manifest), digest_of(content))
        except msgspec.MsgspecError as error:
            raise BuildError("BadImage", f"{what}: its manifest cannot be read: {error}.") from error
        raise BuildError("BadImage", f"{what}: its manifest is {kind or 'of an unknown type'}, which is not supported.")

    def pull(self, content: Descriptor, blobs: BlobStore, log: Log, cancellation: Cancellation) -> None:
        """Store a content unless it is here.

        Raises:
            BuildError: it cannot be pulled, or is damaged.
        """
        if blobs.has(content):
            return
        log.line(f"pulling {content.digest} ({content.size:,} bytes)")
        with self._registry_errors(f"The image {self.name} cannot be pulled"):
            blobs.add(content, _checked(self._client.pull_blob(content.digest, chunk_size=_CHUNK_BYTES), cancellation))

    def push(self, content: Descriptor, blobs: BlobStore, cancellation: Cancellation) -> bool:
        """Send a content unless the registry has it; return whether it was sent.

        Raises:
            BuildError: it cannot be pushed.
        """
        with self._registry_errors(f"{self.name} cannot be pushed"):
            if self._has(content.digest):
                return False
            chunks = _Sized(_checked(blobs.chunks(content), cancellation), content.size)
            self._client.push_blob(data=chunks, digest=content.digest, check_exists=False)
        return True

    def _has(self, digest: str) -> bool:
        import requests

        try:
            self._client.blob_size(digest)
        except requests.HTTPError as error:
            if error.response.status_code == 404:
                return False
            raise
        return True

    def push_manifest(self, tag: str, manifest: bytes) -> None:
        """Name an image whose contents the registry has.

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
            raise BuildError("RegistryUnavailable", f"{failed}: {self.host}: {_short(error)}.") from error


class _Kind(msgspec.Struct, rename="camel"):
    """The part of a document that says its type. Older OCI documents lack it."""

    media_type: str = ""
    manifests: Any = None
    layers: Any = None

    @property
    def kind(self) -> str:
        if self.media_type:
            return self.media_type
        if self.manifests is not None:
            return INDEX
        return MANIFEST if self.layers is not None else ""


resolve(_Kind)


class _Sized:
    """Parts of a content with a known size, so that the request has a `Content-Length`."""

    def __init__(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks = chunks
        self.len = size

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def _checked(chunks: Any, cancellation: Cancellation) -> Iterator[bytes]:
    for chunk in chunks:
        cancellation.check()
        yield chunk


def _client(host: str, path: str, login: Callable[[], tuple[str, str] | None], *, is_plain: bool) -> Any:
    """Return the client of a repository."""
    from dxf import DXF, DXFBase

    class Client(DXF):
        """A client that also signs in without TLS, on this machine."""

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


def _is_here(host: str) -> bool:
    name = host.rpartition(":")[0] or host
    return name == "localhost" or name.startswith("127.") or name == "[::1]"


def _of_this_platform(index: Index, what: str) -> Descriptor:
    platforms = [(each, each.platform) for each in index.manifests]
    for found, target in platforms:
        if target is not None and (target.os, target.architecture) == ("linux", machine()):
            return found
    offered = sorted({f"{target.os}/{target.architecture}" for _, target in platforms if target is not None})
    raise BuildError("BadBaseImage", f"{what} is for {', '.join(offered)}, and this machine is linux/{machine()}.")


def _reason(response: Any) -> str:
    """Return the registry's own words for a refusal."""
    with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
        first = response.json()["errors"][0]
        return f"{first['code']}: {first['message']}"
    return f"{response.status_code} {response.reason}"


def _short(error: Exception) -> str:
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
