"""Wheels, projects and package indexes on loopback, for tests of requirements."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import inspect
import io
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trustme import LeafCert

__all__ = ["build_backend", "digest_of", "package_index", "project", "source_archive", "wheel"]

_BACKEND = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'


def wheel(folder: Path, name: str, version: str, what: str, needs: str | None = None) -> Path:
    """Return a wheel with one module, whose constant `WHAT` is `what`."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"WHAT = {what!r}\n",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},sha256={_record(content)},{len(content)}\n" for file, content in files.items())
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(zipfile.ZipInfo(file), content)
    return path


def _record(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


def project(folder: Path, name: str, what: str) -> Path:
    """Return the folder of a project with one module."""
    folder.mkdir(parents=True, exist_ok=True)
    module = f'[tool.setuptools]\npy-modules = ["{name}"]\n'
    (folder / "pyproject.toml").write_text(f'{_BACKEND}[project]\nname = "{name}"\nversion = "1.0"\n{module}')
    (folder / f"{name}.py").write_text(f"WHAT = {what!r}\n")
    return folder


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def source_archive(folder: Path, name: str, version: str, what: str, backend: str) -> Path:
    """Return a source archive with one module; another package builds it (see `build_backend`)."""
    folder.mkdir(parents=True, exist_ok=True)
    top = f"{name}-{version}"
    requires = f'[build-system]\nrequires = ["{backend}"]\nbuild-backend = "{backend}"\n'
    files = {
        "pyproject.toml": f'{requires}[project]\nname = "{name}"\nversion = "{version}"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{name}.py": f"WHAT = {what!r}\n",
    }
    path = folder / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"{top}/{file}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return path


def build_backend(folder: Path, name: str) -> Path:
    """Return a wheel with a build backend for source archives, which adds its own name to their `WHAT`."""
    path = wheel(folder, name, "1.0", "a backend")
    source = _BUILDS.format(wheel=inspect.getsource(wheel), record=inspect.getsource(_record), name=name)
    with zipfile.ZipFile(path) as archive:
        files = {file: archive.read(file) for file in archive.namelist()}
    files[f"{name}.py"] = source.encode()
    record = "".join(f"{file},,\n" for file in files)
    files[f"{name}-1.0.dist-info/RECORD"] = record.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file), content)
    return path


_BUILDS = """\
from __future__ import annotations
import base64, hashlib, runpy, tomllib, zipfile
from pathlib import Path

{wheel}
{record}
def build_wheel(folder, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    what = runpy.run_path(project["name"] + ".py")["WHAT"] + ", built by {name}"
    return wheel(Path(folder), project["name"], project["version"], what).name
"""


@contextmanager
def package_index(
    folder: Path,
    login: str | None = None,
    address: tuple[str, int] = ("127.0.0.1", 0),
    certificate: LeafCert | None = None,
) -> Iterator[str]:
    """Serve a folder, which has a folder for each package, as a package index; yield its URL, with the login if any."""
    expected = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if expected is None or self.headers.get("Authorization") == expected:
                super().do_GET()
            else:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    server = http.server.ThreadingHTTPServer(address, functools.partial(Handler, directory=str(folder)))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://{f'{login}@' if login else ''}127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
