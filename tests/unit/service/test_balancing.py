"""How many kept connections the busiest replica of a service gives up."""

from __future__ import annotations

import pytest

from mlmgmt_nb.service.compute.balancing import connections_to_move


@pytest.mark.parametrize(
    ("most", "least", "moved"),
    [
        (0.0, 0.0, 0),
        (1.0, 0.0, 0),  # a single caller stays where it is
        (1.9, 0.0, 1),  # two callers, with pauses between their calls
        (8.0, 0.0, 4),
        (15.0, 1.0, 7),
        (5.0, 4.0, 0),
        (40.0, 39.0, 0),
    ],
)
def test_half_of_the_difference_moves(most: float, least: float, moved: int) -> None:
    assert connections_to_move(most, least) == moved


def test_it_ends_in_balance() -> None:
    """Whatever the callers do: after each move the difference is smaller, until none moves."""
    for calls in range(2, 64):
        most, least = float(calls), 0.0
        while moved := connections_to_move(most, least):
            most, least = max(most - moved, least + moved), min(most - moved, least + moved)
        assert most - least < 2
