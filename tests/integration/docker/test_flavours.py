"""Flavours on compute `docker`: two kinds of format, and the whole table with `MLMGMT_TEST_FLAVOURS=all`.

`test_elsewhere.py` has a pipeline. The whole table is too dear for CI: it installs each framework from the package
index into an image of its own, which takes half an hour. Run it before a release, and after changes of a flavour or of
the builder, with `CI=true MLMGMT_TEST_FLAVOURS=all pytest -n 0` and the name of this file.

`MLMGMT_TEST_WHEELS` names a folder with wheels that are preferred, such as a build of PyTorch without CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client import Workspace, connect
from tests.conftest import ServiceProcess, mlmgmt
from tests.integration.flavours import deploy_and_compare
from tests.support.searches import long_search
from tests.unit.packaging.models import SERVED

WHOLE_TABLE = os.environ.get("MLMGMT_TEST_FLAVOURS") == "all"
CHOSEN = SERVED if WHOLE_TABLE else ("onnx", "function")


@pytest.fixture(scope="module")
def workspace(service: ServiceProcess) -> Iterator[Workspace]:
    with connect(base_url=service.base_url, token=service.token, compute="docker") as workspace:
        yield workspace


@pytest.fixture
def room(service: ServiceProcess, engine: Any) -> Iterator[None]:
    """Remove the images that a test of the whole table leaves: together they take 15 GB."""
    yield
    if WHOLE_TABLE:
        mlmgmt("gc", "--home", service.home, "--older-than", 0, "--delete")
        for image in engine.images("mlmgmt/requirements"):
            engine.remove_image(image["Id"], force=True)


@pytest.mark.usefixtures("room")
@long_search
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CHOSEN)
def test_it_is_served(workspace: Workspace, name: str, tmp_path: Path) -> None:
    deploy_and_compare(workspace, name, tmp_path, seconds=880.0)
