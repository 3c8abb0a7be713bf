"""The report of a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from mlmgmt_nb.charts import still
from mlmgmt_nb.client.replays import html
from mlmgmt_nb.client.replays.pairs import DifferentPair, Pairs
from mlmgmt_nb.client.scoring_tests.gate import (
    REPLAY_NAMES,
    Condition,
    Number,
    Verdict,
    exact,
    judged,
    latency,
    passed,
    share,
)
from mlmgmt_nb.client.scoring_tests.junit import TestCase, gate_junit, junit
from mlmgmt_nb.contract.limits import MAX_CHARACTERS
from mlmgmt_nb.short_repr import cut
from mlmgmt_nb.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ReplayReport"]

_PERCENTILES = (50, 95, 99)
_SHOWN = 10
_MEGABYTE = 10**6
_FIELD = ("values", "moved")
_NUMBERS = ("old_mean", "new_mean", "shift", "shift_low", "shift_high", "largest_shift")
_STATES = {1: "equal", 0: "different", -1: "not answered", -2: "not answered"}
_OUTCOMES = {
    1: ("", ""),
    0: ("failure", "the answers differ"),
    -1: ("error", "one side did not answer"),
    -2: ("skipped", "neither side answered"),
}
"""The kind and message of the JUnit test of a pair, by its state."""
_EVIDENCE_FIELDS = 20
_LONGEST_NAME = 100


class ReplayReport:
    """The same requests, answered by two services.

    Example:
        >>> report = ws.services.replay("iris", "iris", cases=[[[5.1, 3.5, 1.4, 0.2]]] * 30)
        >>> report.summary["requests"], report.summary["equal"]
        (30, 30)
        >>> report.gate("errors == 0 and agree >= 0.8").outcome
        'passed'

    Attributes:
        old, new: names of both sides.
        kind: `replay` or `mirror`.
        goal: number of requests to replay; there are fewer pairs if the replay was stopped.
        skipped: recorded requests that could not be replayed, because their body was not recorded.
        redacted: replayed requests with replaced values.
        memory, old_memory: bytes of memory of a replica after the replay; None if they are not known.
    """

    def __init__(
        self, pairs: Pairs, *, old: str, new: str, goal: int, kind: Literal["replay", "mirror"] = "replay"
    ) -> None:
        self._pairs = pairs
        self.kind = kind
        self.old, self.new, self.goal = old, new, goal
        self.skipped = self.redacted = 0
        self.memory: int | None = None
        self.old_memory: int | None = None

    @property
    def numbers(self) -> Mapping[str, Number]:
        """The numbers that gates can name, each with its confidence interval of 95 %.

        `agree` is the share of equal answers where both answered, `errors` and `old.errors` the requests that were not
        answered, `lost` those that only the old one answered; latencies are in milliseconds, `memory` is in MB.
        """
        pairs = self._pairs
        found = {"requests": exact(len(pairs)), "errors": exact(pairs.errors), "old.errors": exact(pairs.old_errors)}
        found["lost"] = exact(pairs.lost)
        if pairs.answered:
            found["agree"] = share(pairs.equal, pairs.answered)
        for prefix, seconds in (("", sorted(pairs.seconds)), ("old.", sorted(pairs.old_seconds))):
            found |= {f"{prefix}p{percent}": latency(seconds, percent) for percent in _PERCENTILES if seconds}
        for name, size in (("memory", self.memory), ("old.memory", self.old_memory)):
            if size is not None:
                found[name] = exact(round(size / _MEGABYTE, 1))
        return found

    @property
    def summary(self) -> Mapping[str, Any]:
        """Counts, and the values of `numbers`. A mirror has no `seconds`: its requests came when callers sent them."""
        pairs = self._pairs
        return {
            "requests": len(pairs),
            "equal": pairs.equal,
            "different": pairs.answered - pairs.equal,
            **{name: number.value for name, number in self.numbers.items() if name != "requests"},
            **({"seconds": round(pairs.clock, 3)} if self.kind == "replay" else {}),
            "skipped": self.skipped,
            "redacted": self.redacted,
            "partial": self.is_partial,
        }

    @property
    def is_partial(self) -> bool:
        """Whether requests are missing: the replay was stopped, or has not ended."""
        return len(self._pairs) < self.goal

    @property
    def results(self) -> pd.DataFrame:
        """A row for each request: case, whether the answers are equal, and the seconds of both."""
        import pandas as pd

        pairs = self._pairs
        columns = {
            "case": pd.Series(pairs.cases, dtype="int64"),
            "state": pd.Series([_STATES[state] for state in pairs.states], dtype="string"),
            "old_seconds": pd.Series(pairs.old_seconds, dtype="float64"),
            "new_seconds": pd.Series(pairs.seconds, dtype="float64"),
        }
        return pd.DataFrame(columns)

    def to_frame(self) -> pd.DataFrame:
        """Return requests (at most 1,000) whose answers differ, with both answers and the fields that moved."""
        import pandas as pd

        rows = [{**one._asdict(), "fields": list(one.fields)} for one in sorted(self._pairs.different, key=_case)]
        return pd.DataFrame(rows, columns=["case", "old", "new", "fields", "old_error", "new_error"])

    @property
    def fields(self) -> pd.DataFrame:
        """A row for each field of the answers: values, how many moved, and the mean shift with its interval."""
        import pandas as pd

        rows = [{"field": name, **_changes(change)} for name, change in self._pairs.fields.items()]
        frame = pd.DataFrame(rows, columns=["field", *_FIELD, *_NUMBERS])
        return frame.astype({"field": "string", **dict.fromkeys(_FIELD, "int64"), **dict.fromkeys(_NUMBERS, "float64")})

    def classes(self, field: str) -> pd.DataFrame:
        """Return the number of values by old class (rows) and new class (columns); empty if the field has no classes.

        Args:
            field: a field of `fields`; `answer` for an answer that is not an object.
        """
        import pandas as pd

        change = self._pairs.fields.get(field)
        labels, matrix = (change.labels, change.matrix) if change else ([], [])
        index, columns = pd.Index(labels, name="old", dtype=object), pd.Index(labels, name="new", dtype=object)
        return pd.DataFrame(matrix, index=index, columns=columns, dtype="int64")

    def gate(self, condition: Condition) -> Verdict:
        """Return the verdict of a gate: passed, failed or inconclusive.

        Example:
            >>> report = ws.services.replay("iris", "iris", cases=[[[5.1, 3.5, 1.4, 0.2]]] * 30)
            >>> report.gate("agree >= 0.99").outcome
            'inconclusive'
            >>> report.gate(lambda report: report.summary["lost"] == 0).outcome
            'passed'

        Args:
            condition: a condition on `numbers`, such as `agree >= 0.99 and p95 <= 1.2 * old.p95 and lost == 0`, or a
                function of this report that returns True, False, or None if that is not clear.

        Raises:
            UsageError: the condition is not valid, or the function raised an exception or returned something else.
        """
        return judged(condition, self, self.numbers, len(self._pairs), REPLAY_NAMES)

    def assert_gate(self, condition: Condition) -> Verdict:
        """Return the verdict of a gate that passed; raise for all others.

        Args:
            condition: as `gate` takes it.

        Raises:
            UsageError: the condition is not valid.
            ScoringTestFailed: it failed or is inconclusive.
        """
        return passed(self.gate(condition), self)

    def to_junit(self, verdict: Verdict | None = None) -> str:
        """Return JUnit XML: a test for each request, which fails if the answers differ, and is an error if only
        one side answered. If neither did, it is skipped.

        Args:
            verdict: the verdict of a gate, which is the only test then.
        """
        name = f"{self.kind} {self.old} {self.new}"
        if verdict is not None:
            return gate_junit(name, self._pairs.clock, verdict)
        return junit(name, self._pairs.clock, list(self._tests()))

    def _tests(self) -> Iterator[TestCase]:
        different = {one.case: one for one in self._pairs.different}
        for case, state, seconds in zip(self._pairs.cases, self._pairs.states, self._pairs.seconds, strict=True):
            found = different.get(case)
            kind, reason = _OUTCOMES[state]
            yield TestCase(f"case {case}", self.kind, seconds, kind, found.sentence if found else reason)

    def to_html(self) -> str:
        """Return the report as HTML that needs no script and no other file."""
        return html.page(self, self._pairs)

    def to_page(self) -> str:
        """Return the report as a whole HTML document, light or dark as the browser is set."""
        return html.document(f"{self.kind.capitalize()} {self.old} → {self.new}", self.to_html())

    def evidence(self, verdict: Verdict | None = None) -> str:
        """Return the report as a short text, for the record of a change: the verdict, and `to_dict` as JSON.

        Args:
            verdict: the verdict of a gate.
        """
        found = self.to_dict(verdict)
        while len(text := json.dumps(found, default=str)) > MAX_CHARACTERS["evidence"] // 2 and found["fields"]:
            found["fields"].popitem()
        head = str(self) if verdict is None else str(verdict)
        return f"{head[: MAX_CHARACTERS['evidence'] // 4]}\n{text}"

    def to_dict(self, verdict: Verdict | None = None) -> dict[str, Any]:
        """Return the numbers, the fields that moved most, and a verdict, as JSON types of limited size.

        Args:
            verdict: the verdict of a gate.
        """
        moved = sorted(self._pairs.fields.items(), key=lambda item: -item[1].moved)[:_EVIDENCE_FIELDS]
        found: dict[str, Any] = {
            "kind": self.kind,
            "old": self.old,
            "new": self.new,
            "numbers": {name: list(number) for name, number in self.numbers.items()},
            "fields": {name[:_LONGEST_NAME]: _changes(change) for name, change in moved if change.moved},
            "partial": self.is_partial,
        }
        if verdict is not None:
            found |= {"gate": verdict.gate, "outcome": verdict.outcome, "reason": verdict.reason}
        return found

    def _repr_html_(self) -> str:
        return still(self.to_html())

    def __str__(self) -> str:
        summary = self.summary
        lines = [f"{self.kind}: {self.old} -> {self.new}"]
        lines += [f"{name:<12} {number}" for name, number in self.numbers.items()]
        shown = ("equal", "different", "seconds", "skipped", "redacted")
        lines += [f"{name:<12} {summary[name]}" for name in shown if name in summary]
        moved = [(name, change) for name, change in self._pairs.fields.items() if change.moved]
        lines += [f"  {name}: {change.moved} of {change.values} moved{_shift(change)}" for name, change in moved]
        lines += [f"  {one.sentence}" for one in sorted(self._pairs.different, key=_case)[:_SHOWN]]
        if self.is_partial:
            lines.append(f"stopped after {len(self._pairs)} of {self.goal} requests")
        return printable("\n".join(lines))

    def __repr__(self) -> str:
        counts = f"{self.summary['equal']} equal, {self.summary['different']} different"
        return f"<ReplayReport {cut(str(self.old))} -> {cut(str(self.new))}: {counts}>"


def _case(pair: DifferentPair) -> int:
    return pair.case


def _changes(change: Any) -> dict[str, Any]:
    return {"values": change.values, "moved": change.moved, **change.numbers()}


def _shift(change: Any) -> str:
    found = change.numbers()
    if found["shift"] is None:
        return ""
    return f", mean shift {found['shift']:.6g} ({found['shift_low']:.6g} to {found['shift_high']:.6g})"
