"""Packages of images: indexes, passwords, source archives, files that were sent, and what is built anew.

The indexes are containers, so that both the service and the builds, which are containers too, reach them.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from mlmgmt_nb.client import Workspace, connect
from mlmgmt_nb.scoring.distribution import pinned_packages
from tests.conftest import ServiceProcess
from tests.integration.docker.helpers import ask_for_image, build, build_log, score, serve
from tests.support import package_index as support
from tests.support.engine import BASE
from tests.support.package_index import build_backend, digest_of, project, source_archive, wheel
from tests.support.searches import long_search
from tests.support.waiting import eventually

LOGIN = "someone:canary-password"
SERVES = """\
import threading, package_index
with package_index.package_index("/index", {login!r}, ("0.0.0.0", 8000)):
    threading.Event().wait()
"""
SAYS = "import {module}\ndef init(): pass\ndef run(body): return {module}.WHAT\n"


def link_runtime(folder: Path) -> None:
    """Write the pages of an index that has the packages of the runtime, where the default index has them."""
    import uv

    asked, lock = folder.with_suffix(".in"), folder.with_name(f"pylock.{folder.name}.toml")
    asked.write_text("\n".join(pinned_packages()))
    command = [uv.find_uv_bin(), "pip", "compile", "-q", "--generate-hashes", "--format", "pylock.toml"]
    subprocess.run([*command, "--python", sys.executable, "-o", str(lock), str(asked)], check=True)
    for package in tomllib.loads(lock.read_text())["packages"]:
        page = folder / package["name"] / "index.html"
        page.parent.mkdir(parents=True)
        links = [
            f'<a href="{one["url"]}#sha256={one["hashes"]["sha256"]}">{_name(one)}</a>' for one in package["wheels"]
        ]
        page.write_text("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>")


def _name(file: dict[str, Any]) -> str:
    return str(urlsplit(file["url"]).path.rpartition("/")[2])


@contextmanager
def served(engine: Any, folder: Path, login: str | None = None) -> Iterator[str]:
    """Serve a package index from a container; yield its URL, with any login."""
    command = ["python3", "-c", SERVES.format(login=login)]
    container = engine.create_container(BASE, command, environment={"PYTHONPATH": "/support"})["Id"]
    try:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(folder, "index")
            archive.add(support.__file__, "support/package_index.py")
        engine.put_archive(container, "/", content.getvalue())
        engine.start(container)
        host = engine.inspect_container(container)["NetworkSettings"]["IPAddress"] + ":8000"
        eventually(lambda: _listens(f"http://{host}/"), 60, "the start of the index")
        yield f"http://{f'{login}@' if login else ''}{host}/"
    finally:
        engine.remove_container(container, force=True)


def _listens(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code in {200, 401}
    except requests.ConnectionError:
        return False


class Indexes:
    """The URLs of two indexes, `private` and `public`, which has newer packages of the same names; and their host."""

    def __init__(self, private: str, public: str, digest: str) -> None:
        self.private, self.public, self._digest = private, public, digest
        self._host = urlsplit(private).netloc.rpartition("@")[2]

    def text(self, template: str) -> str:
        found = {"private": self.private, "public": self.public, "host": self._host, "digest": self._digest}
        return template.format(**found)


@pytest.fixture(scope="module")
def indexes(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexes]:
    folder = tmp_path_factory.mktemp("indexes")
    private, public = folder / "private", folder / "public"
    for index in (private, public):
        link_runtime(index)
    source_archive(private / "sourced", "sourced", "1.0", "private", "our_backend")
    build_backend(private / "our-backend", "our_backend")
    wheel(private / "ours", "ours", "1.0", "private")
    earlier = wheel(private / "ours", "ours", "0.9", "private, earlier")
    wheel(public / "sourced", "sourced", "9.0", "a squatter's")
    wheel(public / "our-backend", "our_backend", "9.0", "a squatter's")
    wheel(public / "ours", "ours", "9.0", "a squatter's")
    with served(engine, private, LOGIN) as own, served(engine, public) as other:
        yield Indexes(own, other, digest_of(earlier))


_BUILT = "private, built by our_backend"
PRIVATE_NAMES = {
    "source": ("", "--index-url {private}\n--trusted-host {host}\nsourced\n", "sourced", _BUILT),
    "source, pip.conf": (
        "[global]\nindex-url = {private}\ntrusted-host = {host}\n",
        "sourced\n",
        "sourced",
        _BUILT,
    ),
    "two": ("", "--index-url {public}\n--extra-index-url {private}\nours\n", "ours", "private"),
    "two, pip.conf": (
        "[global]\nindex-url = {public}\nextra-index-url = {private}\n",
        "ours\n",
        "ours",
        "private",
    ),
    "one of each": (
        "[global]\nextra-index-url = {private}\n",
        "--extra-index-url {public}\nours<1\n",
        "ours",
        "private, earlier",
    ),
    "pinned": (
        "[global]\nextra-index-url = {private}\n",
        "--extra-index-url {public}\n--require-hashes\nours==0.9 --hash={digest}\n",
        "ours",
        "private, earlier",
    ),
}
"""Configurations of pip and requirements that name a package of the private index, its module and what it says."""
FIRST = ("pinned",)
"""Those that are built without CI, too."""


class TestIndexes:
    @pytest.mark.parametrize(
        ("of_pip", "wanted", "module", "says"),
        [
            pytest.param(*case, id=name, marks=[] if name in FIRST else long_search)
            for name, case in PRIVATE_NAMES.items()
        ],
    )
    def test_a_private_name(
        self,
        start_service: Callable[..., ServiceProcess],
        write_driver: Callable[..., Path],
        engine: Any,
        indexes: Indexes,
        tmp_path: Path,
        of_pip: str,
        wanted: str,
        module: str,
        says: str,
    ) -> None:
        """It comes from the private index, with the login; the newer packages of the public one are not taken."""
        arguments: tuple[str, ...] = ()
        if of_pip:
            (tmp_path / "pip.conf").write_text(indexes.text(of_pip))
            arguments = ("--pip-config", str(tmp_path / "pip.conf"))
        api = start_service("--base-image", BASE, *arguments)
        path = tmp_path / "requirements.txt"
        path.write_text(indexes.text(wanted))
        image = build(api, write_driver(SAYS.format(module=module)), "private", pipRequirements=path.as_uri())
        assert score(api, serve(api, image, "private")) == says
        path.unlink()
        assert "canary" not in build_log(api, image)
        built = api.get(f"/images/{image['id']}/docker")
        assert b"canary-password" not in b"".join(engine.get_image(built["imageId"]))

    def test_a_source_archive_with_several_indexes(
        self, service: ServiceProcess, write_driver: Callable[..., Path], indexes: Indexes, tmp_path: Path, name: str
    ) -> None:
        """It is refused: pip would take the squatter's backend, which is newer."""
        path = tmp_path / "requirements.txt"
        path.write_text(indexes.text("--index-url {public}\n--extra-index-url {private}\nsourced\n"))
        properties = {"pipRequirements": path.as_uri()}
        manifest = service.manifest(write_driver(SAYS.format(module="sourced")), name=name, properties=properties)
        ended = service.operation(ask_for_image(service, manifest["id"], name), timeout=120)
        assert ended["error"]["code"] == "RequirementsFailed"
        assert "sourced==1.0: no wheel exists" in ended["error"]["message"]

    def test_a_configuration_that_is_none(
        self, start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path, name: str
    ) -> None:
        config = tmp_path / "pip.conf"
        config.write_text("https://user:canary@x.example\n")
        api = start_service("--base-image", BASE, "--pip-config", str(config))
        manifest = api.manifest(write_driver("x"), name=name)
        for expected in ("not a configuration file of pip", "No such file"):
            ended = api.operation(ask_for_image(api, manifest["id"], name), timeout=120)
            assert ended["error"]["code"] == "BadPipConfig"
            assert expected in ended["error"]["message"]
            assert "canary" not in json.dumps(ended)
            config.unlink(missing_ok=True)


@pytest.fixture
def workspace(service: ServiceProcess) -> Iterator[Workspace]:
    with connect(base_url=service.base_url, token=service.token, compute="docker") as workspace:
        yield workspace


def _sent_wheel(folder: Path, what: str) -> list[str]:
    wheel(folder / "dist", "sent", "1.0", what)
    return ["./dist/sent-1.0-py3-none-any.whl"]


def _sent_source(folder: Path, what: str) -> list[str]:
    source_archive(folder / "dist", "sent", "1.0", what, "our_backend")
    build_backend(folder / "wheels", "our_backend")
    return ["--find-links wheels", "./dist/sent-1.0.tar.gz"]


def _folder(folder: Path, what: str) -> list[str]:
    project(folder / "lib", "sent", what)
    return ["-e lib"]


def _included(folder: Path, what: str) -> list[str]:
    """Return requirements with another file, whose constraint keeps the newer of two wheels out."""
    wheel(folder / "wheels", "sent", "1.0", what)
    wheel(folder / "wheels", "sent", "2.0", "excluded")
    (folder / "more.txt").write_text("sent\n")
    (folder / "limits.txt").write_text("sent<2\n")
    return ["-r more.txt", "-c limits.txt", "-f wheels"]


@pytest.mark.parametrize(
    "write",
    [_included, *(pytest.param(kind, marks=long_search) for kind in (_sent_wheel, _sent_source, _folder))],
)
def test_files_that_change_are_built_anew(
    workspace: Workspace,
    write_driver: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    write: Callable[[Path, str], list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    driver = write_driver(SAYS.format(module="sent")) / "score.py"
    for what in ("before", "after"):
        made = workspace.deploy(name, driver=driver, requirements=write(tmp_path, what), timeout=170)
        assert str(workspace.services.run(made, 1)).partition(",")[0] == what
    workspace.services.delete(made)
