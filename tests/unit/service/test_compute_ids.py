"""Which compute an id in a request means."""

from __future__ import annotations

import pytest

from mlmgmt_nb.service.compute_ids import chosen_compute

COMPUTES = ("local", "docker")
WHOLE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningCompute/operationalizationClusters/{}"


@pytest.mark.parametrize(
    ("given", "chosen", "kept", "warns"),
    [
        (None, "local", None, False),
        ("local", "local", None, False),
        ("docker", "docker", None, False),
        ("team", "docker", "team", False),
        (WHOLE.format("team"), "docker", WHOLE.format("team"), False),
        (WHOLE.format("docker"), "docker", WHOLE.format("docker"), False),
        (WHOLE.format("special"), "docker", WHOLE.format("special"), False),
        (WHOLE.format("moon"), "local", WHOLE.format("moon"), True),
        (WHOLE.format("moon").upper(), "local", WHOLE.format("moon").upper(), True),
        (WHOLE.format("team") + "/", "docker", WHOLE.format("team") + "/", False),
    ],
)
def test_known(given: str | None, chosen: str, kept: str | None, warns: bool) -> None:
    aliases = {"team": "docker", WHOLE.format("special"): "docker", "gone": "removed"}
    found = chosen_compute(given, COMPUTES, aliases)
    assert found is not None
    assert (found.id, found.given, found.warning is not None) == (chosen, kept, warns)
    if found.warning:
        assert "'local' is used" in found.warning


@pytest.mark.parametrize("given", ["", "moon", "a/b", "LOCAL", "gone", "/", "subscriptions/s/clusters/x"])
def test_unknown(given: str) -> None:
    assert chosen_compute(given, COMPUTES, {"team": "docker", "gone": "removed"}) is None
