"""Each flavour on compute `local`, from the object to its answer at a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb.client import Workspace
from tests.integration.flavours import deploy_and_compare
from tests.unit.packaging.models import SERVED


@pytest.mark.parametrize("name", SERVED)
def test_it_is_served(ws: Workspace, name: str, tmp_path: Path) -> None:
    deploy_and_compare(ws, name, tmp_path)
