"""One cluster, and one service of ours that uses it, for all tests of compute `kubernetes`, until the last one ends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServiceProcess
from tests.integration.kubernetes.helpers import build
from tests.support import postgresql
from tests.support.engine import write_base
from tests.support.kubernetes import ClusterProcess

_RUNNING = ExitStack()
"""The cluster and its services: fixtures of a folder without `__init__.py` would keep them until the session ends."""


@pytest.hookimpl(trylast=True)  # after the fixtures of the test
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the cluster after its last test: while it idles, it takes a tenth of a core from those that follow."""
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        _RUNNING.close()


@pytest.fixture(scope="session")
def cluster() -> ClusterProcess:
    reached = [postgresql.server().port]
    folder = _RUNNING.enter_context(tempfile.TemporaryDirectory(prefix="kc", dir="/tmp"))
    return _RUNNING.enter_context(ClusterProcess(Path(folder) / "c", reached))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_base(folder)
    return folder


@pytest.fixture(scope="session")
def start(base: Path, cluster: ClusterProcess) -> Callable[..., ServiceProcess]:
    """Start services that use the cluster; they stop after the last test."""

    def start(home: Path, settings: str) -> ServiceProcess:
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "clusters.toml").write_text(settings)
        times = ("--start-timeout", "40", "--calm-seconds", "1")
        service = ServiceProcess(home, "--base-image", str(base), "--image-builder", "daemonless", *times)
        _RUNNING.callback(service.stop)
        return service

    return start


@pytest.fixture(scope="session")
def service(
    cluster: ClusterProcess, start: Callable[..., ServiceProcess], tmp_path_factory: pytest.TempPathFactory
) -> ServiceProcess:
    return start(tmp_path_factory.mktemp("kubernetes") / "home", cluster.settings("default"))


@pytest.fixture(scope="session")
def images(service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Build images of drivers, each once."""
    built: dict[str, Any] = {}

    def image(source: str) -> Any:
        if source not in built:
            folder = tmp_path_factory.mktemp("driver")
            (folder / "score.py").write_text(source)
            built[source] = build(service, folder, f"driver-{len(built)}")
        return built[source]

    return image
