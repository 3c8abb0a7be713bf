"""Each flavour on compute `local`, from the object to its answer at a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb.client import Workspace
from tests.integration.flavours import deploy_and_compare
from tests.support.searches import long_search
from tests.unit.packaging.models import SERVED

FIRST = ("sklearn", "function")
"""Those that are served without CI, too. `tests/unit/packaging` has all others in a fresh process."""


@pytest.mark.parametrize(
    "name", [*FIRST, *(pytest.param(name, marks=long_search) for name in SERVED if name not in FIRST)]
)
def test_it_is_served(ws: Workspace, name: str, tmp_path: Path) -> None:
    deploy_and_compare(ws, name, tmp_path)
