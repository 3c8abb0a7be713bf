"""One sentence for the output of `uv`."""

from __future__ import annotations

import pytest

from mlmgmt_nb.service.building.packages.explanations import explanation

NOT_FOUND = "error: No solution found:\n  ╰─▶ Because {} was not found in the package registry and you require {}, ..."


@pytest.mark.parametrize(
    ("name", "requirements", "is_of_runtime"),
    [("uvicorn", ["six"], True), ("uvicorn", ["uvicorn>=1"], False), ("six", ["six"], False)],
)
def test_a_package_that_the_user_did_not_write(name: str, requirements: list[str], *, is_of_runtime: bool) -> None:
    sentence = explanation(NOT_FOUND.format(name, name), requirements, "Python 3.12", {"uvicorn"})
    assert sentence.startswith(f"{name}: no package index has a package with this name")
    assert ("the scoring runtime needs it" in sentence) is is_of_runtime
