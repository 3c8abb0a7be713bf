"""A service that answers is not called Failed."""

from __future__ import annotations

import json
import re

import pytest

from mlmgmt_nb.client.monitoring.conditions import condition
from mlmgmt_nb.commands.output.formats import formatted
from mlmgmt_nb.contract import ComputeResource, ServiceResponse
from mlmgmt_nb.notebook.display.cards import card_of


@pytest.mark.parametrize(
    ("state", "uri", "replicas", "expected"),
    [
        ("Succeeded", "http://h/score", 1, "Succeeded"),
        ("Failed", "http://h/score", 1, "Serving"),
        ("Cancelled", "http://h/score", None, "Serving"),
        ("Failed", "http://h/score", 0, "Scaled to zero"),
        ("Failed", None, 1, "Not serving"),
        ("Cancelled", None, 1, "Not serving"),
        ("NotStarted", None, 1, "Deploying"),
        ("Running", "http://h/score", 1, "Deploying"),
    ],
)
def test_state_and_last_operation_are_apart(state: str, uri: str | None, replicas: int | None, expected: str) -> None:
    service = ServiceResponse(
        compute_resource=ComputeResource(id="local"),
        name="iris",
        state=state,  # type: ignore[arg-type]
        scoring_uri=uri,
        num_replicas=replicas,
    )
    assert condition(service) == expected
    card, shown = card_of(service), formatted(service, "table")
    assert card.state == expected
    assert re.search(rf"^state +{expected}$", shown, re.MULTILINE)
    for text in (card.text(), shown):
        assert ("Failed" in text) == (state == "Failed")
        if state == "Failed":
            assert "Failed" in next(line for line in text.splitlines() if "last" in line.lower())
    assert json.loads(formatted(service, "json"))["state"] == state, "programs get the word of the API"
