"""The answers of two services to the same requests: counts, latencies, fields, and the rows that differ."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from mlmgmt_nb.client.replays.fields import FieldChanges, pairs_of
from mlmgmt_nb.client.scoring_tests.judging import answer_of
from mlmgmt_nb.load_generator.messages import Batch, Outcome

__all__ = ["DifferentPair", "Pairs"]

_KEPT = 1000
_KEPT_BYTES = 16 * 2**20


class DifferentPair(NamedTuple):
    """A request with two different answers, or with one answer.

    Attributes:
        case: number of the case, from 0.
        old, new: the answers; None for a side that did not answer.
        fields: fields that moved.
        old_error, new_error: the reason if a side did not answer.
    """

    case: int
    old: Any
    new: Any
    fields: tuple[str, ...]
    old_error: str
    new_error: str

    @property
    def sentence(self) -> str:
        """The difference in a line."""
        sides = [error or repr(answer) for answer, error in ((self.old, self.old_error), (self.new, self.new_error))]
        where = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"case {self.case}: {_short(sides[0])} -> {_short(sides[1])}{where}"


class Pairs:
    """Collects batches of pairs.

    Args:
        tolerance: difference up to which two numbers are equal.

    Attributes:
        answered: pairs with two answers.
        equal: those whose answers are equal.
        errors, old_errors: requests that the new and the old service did not answer.
        lost: requests that only the old service answered.
        fields: changes by field.
        different: pairs that differ, at most 1,000.
        seconds, old_seconds: latencies of all pairs, in the order of `cases`.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.answered = self.equal = self.errors = self.old_errors = self.lost = 0
        self.fields: dict[str, FieldChanges] = {}
        self.different: list[DifferentPair] = []
        self.cases, self.states = array("q"), array("q")
        self.seconds, self.old_seconds = array("d"), array("d")
        self.clock = 0.0
        self._kept_bytes = 0
        self._outcomes: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.seconds)

    def add(self, batch: Batch) -> None:
        """Add a batch from the process that sends the requests."""
        self._outcomes += [(outcome.case, self._compare(outcome)) for outcome in batch.new]
        self.seconds.frombytes(batch.seconds)
        self.old_seconds.frombytes(batch.other_seconds)
        places = array("q")
        places.frombytes(batch.outcomes)
        for place in places:
            case, state = self._outcomes[place]
            self.cases.append(case)
            self.states.append(state)
        self.clock = batch.clock

    def add_pair(self, outcome: Outcome, seconds: float, old_seconds: float) -> None:
        """Add one pair, with its latencies."""
        self.cases.append(outcome.case)
        self.states.append(self._compare(outcome))
        self.seconds.append(seconds)
        self.old_seconds.append(old_seconds)

    def _compare(self, outcome: Outcome) -> int:
        """Count a pair; return whether it is equal (1), different (0), or has one answer (-1) or none (-2)."""
        new, error = answer_of(outcome.status, outcome.content)
        old, old_error = answer_of(outcome.other_status, outcome.other_content)
        self.errors += bool(error)
        self.old_errors += bool(old_error)
        self.lost += bool(error) and not old_error
        if error or old_error:
            if error and old_error:
                return -2
            self._keep(outcome, DifferentPair(outcome.case, old, new, (), old_error, error))
            return -1
        try:
            moved = tuple(dict.fromkeys(self._moved(old, new)))
        except RecursionError:  # nested too deeply to compare it field by field
            moved = () if outcome.content == outcome.other_content else ("answer",)
        self.answered += 1
        self.equal += not moved
        if moved:
            self._keep(outcome, DifferentPair(outcome.case, old, new, moved, "", ""))
        return int(not moved)

    def _moved(self, old: Any, new: Any) -> list[str]:
        found = []
        for field, one, other in pairs_of(old, new):
            if self.fields.setdefault(field, FieldChanges()).add(one, other, self._tolerance):
                found.append(field)
        return found

    def _keep(self, outcome: Outcome, pair: DifferentPair) -> None:
        size = len(outcome.content) + len(outcome.other_content)
        if len(self.different) < _KEPT and self._kept_bytes + size < _KEPT_BYTES:
            self._kept_bytes += size
            self.different.append(pair)


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"
