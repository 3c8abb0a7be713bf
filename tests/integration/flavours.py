"""The table test of flavours that are served, on each kind of compute."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.deploying.verification import DeployedService
from tests.unit.packaging.models import examples

__all__ = ["deploy_and_compare"]

_FILES = ("joblib-file", "mlflow")
"""Examples that have no object to compare with."""


def deploy_and_compare(ws: Workspace, name: str, folder: Path, *, seconds: float = 280.0) -> None:
    """Deploy an example; its service must answer as its object does, to the last bit if the format allows it."""
    example = examples()[name]
    missing = [module for module in example.modules if importlib.util.find_spec(module) is None]
    if missing:
        assert os.environ.get("CI") != "true", f"CI is to test all flavours, and lacks {', '.join(missing)}"
        pytest.skip(f"{', '.join(missing)} is not installed: it is of the extra `flavours`, or PyTorch")
    service = ws.deploy(
        f"flavour-{name}",
        model=example.make(folder),
        sample=example.sample(),
        method=example.method,
        tolerance=example.tolerance,
        requirements=_wheels(folder),
        timeout=seconds,
    )
    try:
        assert isinstance(service, DeployedService)
        print(f"{name}: {service.proof}")
        exactly = "as a fresh process did" if name in _FILES else "as the notebook does, bit for bit"
        assert service.proof.endswith(exactly) or (
            example.tolerance and "as the notebook does, within" in service.proof
        )
        assert f"format={example.form}" in (ws.models.get(service.name or "").tags or ())
        body = ws.services.swagger(service)["definitions"]["ServiceInput"]["example"]
        assert ws.services.run(service, body) is not None
    finally:
        ws.services.delete(service)


def _wheels(folder: Path) -> list[str] | None:
    """Return the option that finds wheels of this machine, if there are any."""
    given = os.environ.get("MLMGMT_TEST_WHEELS")
    if given is None:
        return None
    (folder / "wheels").symlink_to(given)
    return [f"--find-links {folder / 'wheels'}"]
