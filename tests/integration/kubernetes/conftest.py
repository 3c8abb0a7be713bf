"""One cluster, and one service of ours that uses it, for all tests of compute `kubernetes`, until the last one ends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServiceProcess
from tests.integration.kubernetes.helpers import build
from tests.support import postgresql
from tests.support.engine import write_base
from tests.support.kubernetes import ClusterProcess


@pytest.fixture(scope="package")
def cluster() -> Iterator[ClusterProcess]:
    reached = [postgresql.server().port]
    with (
        tempfile.TemporaryDirectory(prefix="kc", dir="/tmp") as folder,
        ClusterProcess(Path(folder) / "c", reached) as process,
    ):
        yield process


@pytest.fixture(scope="package")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_base(folder)
    return folder


@pytest.fixture(scope="package")
def start(base: Path, cluster: ClusterProcess) -> Iterator[Callable[..., ServiceProcess]]:
    """Start services that use the cluster; the last test stops them."""
    started: list[ServiceProcess] = []

    def start(home: Path, settings: str) -> ServiceProcess:
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "clusters.toml").write_text(settings)
        times = ("--start-timeout", "40", "--calm-seconds", "1")
        started.append(ServiceProcess(home, "--base-image", str(base), "--image-builder", "daemonless", *times))
        return started[-1]

    yield start
    for service in started:
        service.stop()


@pytest.fixture(scope="package")
def service(
    cluster: ClusterProcess, start: Callable[..., ServiceProcess], tmp_path_factory: pytest.TempPathFactory
) -> ServiceProcess:
    return start(tmp_path_factory.mktemp("kubernetes") / "home", cluster.settings("default"))


@pytest.fixture(scope="package")
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
