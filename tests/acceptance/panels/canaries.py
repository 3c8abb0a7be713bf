"""The secrets that must not be in a notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlmgmt_nb.client import connect
from tests.acceptance.panels.lab import Lab

__all__ = ["found_in"]


def found_in(saved: Any, lab: Lab, service: str) -> list[str]:
    """Which of the keys of a service and the account's token a saved notebook has; their kinds, not themselves."""
    home = Path(lab.environment["MLMGMT_HOME"])
    with connect(home=home) as ws:
        keys = ws.services.keys(service)
    secrets = {
        "primary key": keys.primary_key or "",
        "secondary key": keys.secondary_key or "",
        "token": (home / "token").read_text().strip(),
    }
    assert all(len(secret) > 12 for secret in secrets.values())
    text = json.dumps(saved)
    return [kind for kind, secret in secrets.items() if secret in text]
