"""Each fault once, and some seconds of the load: a short share of `python -m tests.faults` and `tests.faults.load`."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.faults.faults import FAULTS
from tests.faults.load import sustained
from tests.faults.scene import Scene
from tests.support.searches import long_search


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


_TOO_LONG = {"kill_service_each_time_it_builds"}
"""Two minutes each: `python -m tests.faults` injects them."""


@long_search
@pytest.mark.parametrize("name", [name for name in FAULTS if name not in _TOO_LONG])
def test_a_fault_has_the_outcome_that_is_promised(scene: Scene, name: str) -> None:
    FAULTS[name](scene, random.Random(name))
    scene.is_well()


def test_nobody_fails_through_two_updates_and_a_new_key(scene: Scene) -> None:
    callers, _ = sustained(scene, 4.0)
    assert callers.wrong == []
    assert callers.right > 100
    scene.is_well()
