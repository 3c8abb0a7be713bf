"""The limits of forms are those of the contract."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from mlmgmt_nb.contract import ServiceCreateRequest, ServiceUpdateRequest
from mlmgmt_nb.notebook.panels import limits


@pytest.mark.parametrize(
    ("path", "good", "bad", "words"),
    [
        ("name", ["iris", "a.b-1"], ["ab", "Iris", "-iris", "x" * 33, ""], "a name of 3 to 32 characters"),
        ("num_replicas", [0, 5, None], [-1], "a whole number of at least 0"),
        ("auto_scaler.max_replicas", [1], [0], "a whole number of at least 1"),
        ("auto_scaler.target_utilization", [0, 100], [101, -1], "a whole number from 0 to 100"),
        ("container_resource_reservation.cpu", ["500m", "0.5"], ["half", "1 CPU"], "CPUs in Kubernetes notation"),
        ("container_resource_reservation.memory", ["300Mi", "1G"], ["300 MB"], "bytes in Kubernetes notation"),
        ("max_concurrent_requests_per_container", [1, None], [0, "many"], "a whole number of at least 1"),
        ("compute_resource.id", ["local", None], [3], "text"),
        ("image_id", ["x"], ["", None], "text"),
    ],
)
def test_what_the_contract_takes_is_taken(path: str, good: list[Any], bad: list[Any], words: str) -> None:
    for value in good:
        assert limits.check(ServiceCreateRequest, path, value) is None
    for value in bad:
        assert (limits.check(ServiceCreateRequest, path, value) or "").startswith(f"Enter {words}")


def test_attributes_of_inputs() -> None:
    assert limits.attributes(ServiceUpdateRequest, "auto_scaler.target_utilization") == {
        "title": "Target utilization, in percent.",
        "type": "number",
        "step": 1,
        "min": 0,
        "max": 100,
    }
    assert limits.attributes(ServiceCreateRequest, "name")["maxLength"] == 32
    assert limits.pattern(ServiceCreateRequest, "name") == "[a-z0-9][a-z0-9.-]*[a-z0-9]"
    assert limits.pattern(ServiceCreateRequest, "num_replicas") is None


def test_another_limit_of_the_contract_is_another_limit_of_the_form() -> None:
    class Changed(msgspec.Struct):
        replicas: Annotated[Annotated[int, Meta(ge=2, le=4)] | None, Meta(description="How many.")] = None

    assert limits.words(Changed, "replicas") == "a whole number from 2 to 4"
    assert limits.check(Changed, "replicas", 5) == "Enter a whole number from 2 to 4."
    assert limits.attributes(Changed, "replicas")["max"] == 4
