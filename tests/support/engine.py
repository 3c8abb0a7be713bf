"""A Docker engine, a registry and a base image for tests: started here, and stopped when the session ends."""

from __future__ import annotations

import compileall
import contextlib
import ensurepip
import gzip
import hashlib
import io
import json
import os
import platform
import py_compile
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.components import missing
from tests.support.waiting import eventually

__all__ = ["BASE", "EngineProcess", "Registry", "import_base", "write_base"]

BASE = "mlmgmt-test/python:1"
_LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3"}
_LIBRARIES = (
    *("libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1", "libnss_dns.so.2", "libnss_files.so.2"),
    *("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libm.so.6"),
)
"""Libraries that extension modules of packages load, in addition to those of this Python."""
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def _docker() -> str:
    # Prefer the program of Debian: another one may be installed too.
    return "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else (shutil.which("docker") or "docker")


def _answers() -> bool:
    return subprocess.run([_docker(), "info"], capture_output=True, check=False).returncode == 0


class EngineProcess:
    """The engine of this machine, as a context manager; it starts an engine if none is running."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EngineProcess:
        if not _answers():
            if shutil.which("dockerd") is None or os.getuid() != 0:
                missing("a Docker engine", "start one, or run as root with docker.io and iptables installed")
            self.start()
        return self

    def start(self) -> None:
        Path("/var/run/docker.pid").unlink(missing_ok=True)
        log_file = self._folder / "dockerd.log"
        with log_file.open("ab") as log:
            command = ["dockerd", "--data-root", str(self._folder / "docker")]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.process = process
        eventually(lambda: _answers() or process.poll() is not None, 60, "the start of the Docker engine")
        if process.poll() is not None:
            pytest.fail(f"dockerd ended: {log_file.read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def _remove(self) -> None:
        """Remove the images and containers of an engine that was started here."""
        shutil.rmtree(self._folder / "docker", ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._remove()


class Registry:
    """A registry on loopback.

    Args:
        users: an htpasswd file with the users of the registry; None for access without a login.
    """

    def __init__(self, folder: Path, users: Path | None = None) -> None:
        self._binary = shutil.which("docker-registry") or missing("docker-registry", "apt-get install docker-registry")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"localhost:{free.getsockname()[1]}"
        self._config = folder / "registry.yml"
        self._config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: {self.host.replace('localhost', '127.0.0.1')}}}\n"
            + ("" if users is None else f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n")
        )
        self._log = folder / "registry.log"

    def __enter__(self) -> Registry:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._binary, "serve", str(self._config)], stdout=log, stderr=log)
        eventually(self._listens, what="the start of the registry")
        return self

    def _listens(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://{self.host}/v2/", timeout=5).status_code in {200, 401}
        return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


_VARIABLES = {
    "PATH": "/usr/local/bin",
    "LD_LIBRARY_PATH": "/usr/local/lib",
    "PIP_CERT": _CERTIFICATES,
    "SSL_CERT_FILE": _CERTIFICATES,
}


def import_base(api: Any) -> None:
    """Create the base image of the tests on an engine. It has only this Python, its libraries and pip."""
    changes = [f"ENV {name}={value}" for name, value in _VARIABLES.items()]
    api.import_image_from_data(
        _base_files(), repository=BASE.partition(":")[0], tag="1", changes=[*changes, 'CMD ["python3"]']
    )


def write_base(folder: Path) -> None:
    """Write the same base image as an OCI folder, without an engine."""
    files = _base_files()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Env": [f"{name}={value}" for name, value in _VARIABLES.items()], "Cmd": ["python3"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(files).hexdigest()}"]},
    }
    kind = "application/vnd.oci.image"
    layer = _blob(folder, gzip.compress(files, 1, mtime=0), f"{kind}.layer.v1.tar+gzip")
    described = _blob(folder, json.dumps(config).encode(), f"{kind}.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": described, "layers": [layer]}
    entry = _blob(folder, json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
    index = {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _blob(folder: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    path = folder / "blobs" / "sha256" / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _base_files() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add_python(archive)
    return buffer.getvalue()


def _add_python(archive: tarfile.TarFile) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    executable = Path(sys.base_prefix, "bin", version)
    if not executable.exists():
        executable = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    target = f"usr/local/lib/{version}"
    archive.add(standard, target, filter=_kept)
    archive.add(executable.resolve(), f"usr/local/bin/{version}", filter=_owned)
    _link(archive, "usr/local/bin/python3", version)
    found = _needed([executable, *standard.glob("lib-dynload/*.so")])
    for library in sorted(found):
        inside = f"usr/local/lib/{library.name}" if library.is_relative_to(sys.base_prefix) else str(library)[1:]
        archive.add(library.resolve(), inside, filter=_owned)
    _add_file(archive, "etc/passwd", b"root:x:0:0:root:/root:/sbin/nologin\n")
    _add_file(archive, "etc/group", b"root:x:0:\n")
    if os.path.exists(_CERTIFICATES):
        archive.add(os.path.realpath(_CERTIFICATES), _CERTIFICATES[1:], filter=_owned)
    for name in ("tmp", "var/tmp"):
        top = tarfile.TarInfo(name)
        top.type, top.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(top)
    wheel = next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as pip:
        pip.extractall(folder)
        os.chmod(folder, 0o755)
        compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        archive.add(folder, f"{target}/site-packages", filter=_owned)


def _needed(binaries: list[Path]) -> set[Path]:
    """Return the shared libraries that programs and extension modules load."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    words = [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
    found = {Path(word) for word in words if not word.endswith(":")}
    machine = sysconfig.get_config_var("MULTIARCH") or ""
    beside = [Path(top, machine, name) for top in ("/lib", "/usr/lib") for name in _LIBRARIES]
    return found | {path for path in beside if path.exists()}


def _kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = set(entry.name.split("/"))
    unused = entry.name.endswith((".opt-1.pyc", ".opt-2.pyc")) or any(part.startswith("config-") for part in parts)
    return None if parts & _LEFT_OUT or unused else _owned(entry)


def _owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))
