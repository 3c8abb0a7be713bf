"""One registry and service for all tests of compute `docker`; the engine is shared by the whole session."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServiceProcess
from tests.integration.docker.helpers import SAYS, build
from tests.support.engine import BASE, Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def service(engine: Any, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Yield a service whose images are pushed to the registry."""
    home: Path = tmp_path_factory.mktemp("docker") / "home"
    service = ServiceProcess(home, "--base-image", BASE, "--registry", registry.host, "--start-timeout", "60")
    yield service
    service.stop()
    left = engine.containers(all=True, filters={"label": f"mlmgmt-nb.home={(home / 'id').read_text()}"})
    assert not left, f"containers outlived their service: {left}"


_NUMBERS = itertools.count()


@pytest.fixture
def name() -> str:
    return f"says-{next(_NUMBERS)}"


@pytest.fixture(scope="session")
def image(service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return an image with a requirement, a model and a driver."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "score.py").write_text(SAYS.format(word="first"))
    wanted = tmp_path_factory.mktemp("wanted") / "requirements.txt"
    wanted.write_text("iniconfig\n")  # no other test's
    model = tmp_path_factory.mktemp("model") / "model.bin"
    model.write_bytes(b"a model")
    registered = service.model(url=model.as_uri())
    return build(service, folder, "first", registered["id"], pipRequirements=wanted.as_uri())
