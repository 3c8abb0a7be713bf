"""The service in the cluster of the tests: what `mlmgmt export` writes, and the ways out of its pod."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.media import Descriptor, Index, Manifest
from mlmgmt_nb.service.building.oci.registry import Repository
from mlmgmt_nb.service.building.packages.requirements import runtime_closure
from mlmgmt_nb.service.files.home import Home
from tests.support.kubernetes import ClusterProcess

__all__ = ["create_objects", "push_base", "read_manifests", "with_ways_out", "write_index"]

_PATHS = {
    "Namespace": "/api/v1/namespaces",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Service": "/api/v1/namespaces/{}/services",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
}
_WAY_OUT = """
import asyncio, signal, sys
gateway, *ports = sys.argv[1:]
async def copy(reader, writer):
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def listen(port):
    async def accepted(reader, writer):
        there_reader, there_writer = await asyncio.open_connection(gateway, port)
        await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))
    await (await asyncio.start_server(accepted, "127.0.0.1", port)).serve_forever()
async def main():
    await asyncio.gather(*(listen(int(port)) for port in ports))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
asyncio.run(main())
"""
"""Accepts connections at ports of the pod, and forwards them to the same ports of the machine of the tests."""


def create_objects(cluster: ClusterProcess, objects: list[Any]) -> None:
    """Create objects as `kubectl apply` would."""
    for each in objects:
        cluster.api("POST", _PATHS[each["kind"]].format(each["metadata"].get("namespace")), each)


def read_manifests(text: str) -> dict[str, Any]:
    """Return the objects of `mlmgmt export kubernetes` by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def with_ways_out(deployment: Any, cluster: ClusterProcess, ports: list[int], variables: dict[str, str]) -> Any:
    """Give the pod what other networks have: a registry, a package index and a database that it can reach.

    They are on the loopback interface of the machine of the tests. A second container has them at that of the pod, too.
    """
    pod = deployment["spec"]["template"]["spec"]
    service = pod["containers"][0]
    service["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    command = ["python3", "-c", _WAY_OUT, cluster.GATEWAY, *map(str, ports)]
    way_out = {"name": "ways-out", "command": command}
    pod["containers"].append({**way_out, **{name: service[name] for name in ("image", "securityContext")}})
    return deployment


def push_base(base: Path, reference: str, folder: Path) -> str:
    """Push the base image of the tests, and return its name."""
    blobs = BlobStore(folder)
    shutil.copytree(base / "blobs" / "sha256", folder)
    index = msgspec.json.decode((base / "index.json").read_bytes(), type=Index)
    text = blobs.read(index.manifests[0])
    manifest = msgspec.json.decode(text, type=Manifest)
    repository = Repository(reference)
    contents: list[Descriptor] = [manifest.config, *manifest.layers]
    for content in contents:
        repository.push(content, blobs, Cancellation({}))
    repository.push_manifest("1", text)
    return f"{reference}:1"


def write_index(home: Path, folder: Path) -> None:
    """Write a package index with what every image needs, in the versions of the image of the service.

    Args:
        home: the state folder in which that image was built.
    """
    needed = {*runtime_closure(), "werkzeug", "markupsafe"}
    pinned = {name: f"{name}=={version}" for name, version in _locked(home) if name in needed}
    wheels = folder / "wheels"
    chosen = [pinned.get(name, name) for name in sorted(needed)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(wheels), *chosen], check=True, timeout=120)
    for wheel in wheels.iterdir():
        project = folder / wheel.name.partition("-")[0].replace("_", "-")
        project.mkdir(exist_ok=True)
        wheel.rename(project / wheel.name)


def _locked(home: Path) -> Iterator[tuple[str, str]]:
    """Yield the packages of all images of a state folder."""
    for lock in Home(home).environments.glob("*.pinned"):
        for package in tomllib.loads(lock.read_text())["packages"]:
            yield package["name"], package["version"]
