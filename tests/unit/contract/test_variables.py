"""Names and values of environment variables and secrets."""

from __future__ import annotations

import msgspec
import pytest

from mlmgmt_nb.contract.extensions import BODIES, ServiceCreate, ServiceUpdate
from mlmgmt_nb.contract.limits import exceeded
from mlmgmt_nb.contract.variables import MAX_VARIABLES_BYTES, RESERVED, check_variables

SECRET = "hunter2-and-more"


@pytest.mark.parametrize("name", ["A", "_a9", "AML_CORS_ORIGINS", "AML_APP_INSIGHTS_KEY", "OMP_NUM_THREADS", "PATHS"])
def test_names_that_are_allowed(name: str) -> None:
    check_variables({name: "value"}, {name + "_2": "value"})


@pytest.mark.parametrize(
    "name", ["", "1A", "A-B", "A B", "A=B", "A.B", "\u00e9", "A\n", "x" * 129, *(r.replace("*", "X") for r in RESERVED)]
)
def test_names_that_are_refused(name: str) -> None:
    for variables in (({name: SECRET}, None), (None, {name: SECRET}), (None, {name: None})):
        with pytest.raises(ValueError, match=r"^(environment|secrets)\.") as refused:
            check_variables(*variables)
        assert SECRET not in str(refused.value)


def test_values_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"secrets\.A: .*NUL"):
        check_variables(None, {"A": SECRET + "\0"})
    with pytest.raises(ValueError, match=r"environment\.A: .*also among the secrets"):
        check_variables({"A": "x"}, {"A": SECRET})
    with pytest.raises(ValueError, match=r"environment\.A: .*also among the secrets"):
        check_variables({"A": "x"}, {"A": ""})
    check_variables({"A": None}, {"A": SECRET})
    full = {f"V{number}": "x" * 32_000 for number in range(9)}
    assert sum(map(len, full.values())) > MAX_VARIABLES_BYTES
    with pytest.raises(ValueError, match="maximum is"):
        check_variables(full, None)


@pytest.mark.parametrize("body", BODIES.values())
def test_bodies_name_the_variable_and_not_its_value(body: type[ServiceCreate | ServiceUpdate]) -> None:
    given = {"name": "iris", "imageId": "i", "computeResource": {"id": "local"}}
    for wrong in ({"secrets": {"PATH": SECRET}}, {"secrets": {"A": [SECRET]}}, {"secrets": SECRET}):
        with pytest.raises(msgspec.ValidationError) as refused:
            msgspec.json.decode(msgspec.json.encode(given | wrong), type=body)
        assert SECRET not in str(refused.value)
    for wrong in ({"secrets": {"A": SECRET * 5000}}, {"secrets": {f"A{i}": SECRET for i in range(257)}}):
        found = exceeded(msgspec.json.decode(msgspec.json.encode(given | wrong), type=body))
        assert found is not None
        assert found[0].startswith("$.secrets")
        assert SECRET not in "".join(found)


def test_secrets_are_in_no_repr() -> None:
    shown = ServiceUpdate(environment={"A": "shown"}, secrets={"B": SECRET, "C": None})
    for text in (repr(shown), str(shown), f"{[shown]}", repr(list(shown.__rich_repr__()))):
        assert SECRET not in text
        assert "shown" in text
    assert "'B': '***'" in repr(shown)
