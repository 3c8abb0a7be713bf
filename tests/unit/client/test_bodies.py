"""Bodies of requests: settings that take a structure refuse other values with their field and a fix."""

from __future__ import annotations

from typing import Any

import pytest

from mlmgmt_nb.client.bodies import settings_fields
from mlmgmt_nb.errors import UsageError


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("recording", "on", "recording: 'on' is not valid"),
        ("recording", 5, "recording: 5 is not valid"),
        ("recording", ["enabled"], "recording: list is not a mapping"),
        ("autoscaler", True, "autoscaler: True is not valid"),
        ("autoscaler", "on", "autoscaler: 'on' is not valid"),
        ("autoscaler", [1], "autoscaler: list is not a mapping"),
        ("environment", "A=1", "environment: not a mapping of names to values"),
        ("secrets", [("A", "1")], "secrets: not a mapping of names to values"),
    ],
)
def test_a_structure_is_a_mapping(setting: str, value: Any, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings_fields(**{setting: value})
    assert (caught.value.message, caught.value.field) == (problem, setting)
    assert "{'" in (caught.value.fix or "")


@pytest.mark.parametrize("setting", ["recording", "autoscaler"])
def test_an_unknown_property_is_named(setting: str) -> None:
    given: Any = {setting: {"wrong": 1, 2: 3}}
    with pytest.raises(UsageError, match=f"{setting} has no property 2"):
        settings_fields(**given)


@pytest.mark.parametrize("setting", ["max_age", "max_size"])
@pytest.mark.parametrize("given", [float("inf"), float("-inf"), float("nan"), 10**400, "9" * 400, True, [1]])
def test_a_quantity_is_a_finite_number(setting: str, given: object) -> None:
    kind = {"max_age": "age", "max_size": "size"}[setting]
    with pytest.raises(UsageError, match=f"{setting}: .* is not an? {kind}"):
        settings_fields(recording={setting: given})
