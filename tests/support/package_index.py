"""Wheels, projects and package indexes on loopback, for tests of requirements."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["digest_of", "package_index", "project", "wheel"]

_BACKEND = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'


def wheel(folder: Path, name: str, version: str, what: str, needs: str | None = None) -> Path:
    """Return a wheel with one module, whose `WHAT` is a text."""
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


@contextmanager
def package_index(folder: Path, login: str | None = None) -> Iterator[str]:
    """Serve a folder, with a folder for each package, as a package index; yield its URL, with any login."""
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
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{f'{login}@' if login else ''}127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
