"""State of a `ScoringPanel`: the input as a form and as JSON, kept in sync, and the history of answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mlmgmt_nb.client import Scored
from mlmgmt_nb.commands.usage import pretty
from mlmgmt_nb.errors import MlmgmtError, ScoringError, ServiceStoppedError, UsageError
from mlmgmt_nb.notebook.panels.scoring.form import Field, as_table, fields_of

__all__ = ["Answer", "Input", "ScoringState"]

_KEPT_REQUESTS = 50
_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_CHARACTERS, _SHOWN_OF_BODY = 200, 50, 20_000, 120


class Input:
    """The body of the next request.

    Args:
        swagger: the Swagger description of the service; empty if it has none.

    Attributes:
        fields: the form fields; empty for a driver without a schema, which accepts any text.
        body: the request body as text.
        problem: the reason why the body is not valid JSON, or "".
        problems: the problems in the form, by field name and place in the field.
        form_changes, body_changes: counts of changes to the form and the body that the frontend does not show yet.
    """

    def __init__(self, swagger: Mapping[str, Any]) -> None:
        self.fields = fields_of(swagger)
        example = swagger.get("definitions", {}).get("ServiceInput", {}).get("example")
        names = {field.name for field in self.fields}
        self._more = {name: value for name, value in (example or {}).items() if name not in names} if names else {}
        self._typed_as_json = False
        self.body = ""
        self.problem = ""
        self.problems: dict[str, dict[str, str]] = {}
        self.form_changes = self.body_changes = 0
        if self.fields:
            self._from_form()
        else:
            self.body = pretty(example) if example else ""

    @property
    def has_form(self) -> bool:
        """Whether the service describes its input."""
        return bool(self.fields)

    def edit(self, name: str, change: Callable[[Field], None], *, is_typed: bool = False) -> None:
        """Change a field, and update the JSON.

        Args:
            name: the name of the field.
            change: applies the change.
            is_typed: whether the frontend already shows the change.
        """
        for field in self.fields:
            if field.name == name:
                change(field)
                self.form_changes += not is_typed
                self._from_form()

    def _from_form(self) -> None:
        values, self.problems = dict(self._more), {}
        for field in self.fields:
            value, problems = field.value()
            if problems:
                self.problems[field.name] = problems
            if not field.is_left_out:
                values[field.name] = value
        self.body, self.problem, self._typed_as_json = pretty(values), "", False
        self.body_changes += 1

    def set_body(self, text: str, *, is_typed: bool = False) -> None:
        """Change the JSON (or text, for a driver without a schema), and update the form."""
        self.body, self._typed_as_json = text, True
        self.body_changes += not is_typed
        if not self.fields:
            return
        self.problem = ""
        try:
            values = json.loads(text)
        except ValueError as error:
            self.problem = f"not JSON: {error}"
            return
        if not isinstance(values, dict):
            self.problem = "not an object with the arguments " + ", ".join(field.name for field in self.fields)
            return
        self._more = dict(values)
        self.problems = {}
        for field in self.fields:
            if field.name in self._more:
                field.take(self._more.pop(field.name))
                problems = field.value()[1]
            else:
                field.clear()
                problems = {"": "a value is missing"} if field.is_required else {}
            if problems:
                self.problems[field.name] = problems
        self.form_changes += 1

    @property
    def has_problems(self) -> bool:
        """Whether the form has problems that prevent sending. Input typed as JSON is sent unchanged."""
        return bool(self.problems) and not self._typed_as_json

    def check(self) -> str:
        """Return the body to send.

        Raises:
            UsageError: the form has a problem. Input typed as JSON is sent unchanged, valid or not, so that the service
                reports its errors.
        """
        if self.has_problems:
            name, problems = next(iter(self.problems.items()))
            place, problem = next(iter(problems.items()))
            raise UsageError(
                f"{name}{self._place(name, place)}: {problem}",
                field=name,
                fix="Correct it, or enter the input as JSON.",
            )
        return self.body

    def _place(self, name: str, place: str) -> str:
        if not place:
            return ""
        row, column = map(int, place.split(","))
        columns = next(field.columns for field in self.fields if field.name == name)
        return f"[{row}].{columns[column].name}"


class Answer(NamedTuple):
    """A request and its answer.

    Attributes:
        number: the number of the request, from 1.
        at: the time of day when it was sent.
        body: the body that was sent.
        status: the HTTP status; 0 without an answer.
        seconds: the time until the answer.
        request_id: the id of the request in the log of the service.
        value: the decoded answer, unless it is an error.
        error, fix: the error and its fix, or "".
    """

    number: int
    at: str
    body: str
    status: int
    seconds: float
    request_id: str
    value: Any = None
    error: str = ""
    fix: str = ""

    @property
    def words(self) -> str:
        """The status as text."""
        if self.status == 0:
            return "no answer"
        return f"{self.status} OK" if self.status == 200 else f"{self.status} error"

    def shown(self, body: str) -> dict[str, Any]:
        """Return the answer for the frontend.

        Args:
            body: the current input. An answer to different input is stale.
        """
        found = None if self.error else as_table(self.value)
        columns, rows = found or ((), [])
        text = "" if self.error else self.value if isinstance(self.value, str) else pretty(self.value)
        return {
            "number": self.number,
            "stale": body != self.body,
            "at": self.at,
            "words": self.words,
            "ok": self.status == 200,
            "ms": f"{1000 * self.seconds:.1f} ms",
            "id": self.request_id,
            "error": self.error,
            "fix": self.fix,
            "columns": list(columns[:_SHOWN_COLUMNS]),
            "rows": [row[:_SHOWN_COLUMNS] for row in rows[:_SHOWN_ROWS]],
            "more": max(0, len(rows) - _SHOWN_ROWS),
            "moreColumns": max(0, len(columns) - _SHOWN_COLUMNS),
            "text": text
            if len(text) <= _SHOWN_CHARACTERS
            else f"{text[:_SHOWN_CHARACTERS]}… ({len(text):,} characters)",
        }


class ScoringState:
    """The input, and the history of requests and answers.

    Args:
        ask: sends a body and returns the answer.
        swagger: the Swagger description of the service.
        clock: clock in seconds, for latencies of failed requests.
        now: returns the time of day.
    """

    def __init__(
        self,
        ask: Callable[[str], Scored],
        swagger: Mapping[str, Any],
        *,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
    ) -> None:
        self._ask, self._clock, self._now = ask, clock, now
        self.input = Input(swagger)
        self.history: list[Answer] = []
        self.answer: Answer | None = None

    def ask(self, body: str) -> Answer:
        """Send a body, and block until the answer arrives. The caller passes the answer to `remember`.

        Raises:
            ServiceStoppedError: the embedded service was stopped.
        """
        number = self.history[0].number + 1 if self.history else 1
        at, began = self._now(), self._clock()
        try:
            scored = self._ask(body)
        except ServiceStoppedError:
            raise  # the panel shows a button that starts the service
        except ScoringError as error:
            seconds = self._clock() - began
            return _failed(Answer(number, at, body, error.status_code, seconds, error.request_id or ""), error)
        except MlmgmtError as error:
            return _failed(Answer(number, at, body, 0, self._clock() - began, ""), error)
        return Answer(number, at, body, scored.status, scored.seconds, scored.request_id, scored.value)

    def remember(self, answer: Answer) -> None:
        """Make an answer the current one, and add it to the history."""
        self.answer = answer
        self.history = [answer, *self.history][:_KEPT_REQUESTS]

    def choose(self, number: int) -> None:
        """Restore a request and its answer from the history."""
        for answer in self.history:
            if answer.number == number:
                self.answer = answer
                self.input.set_body(answer.body)

    def recent(self) -> Sequence[Mapping[str, Any]]:
        """Return the history for the frontend, latest first."""
        return [
            {
                "number": one.number,
                "at": one.at,
                "words": one.words,
                "ok": one.status == 200,
                "ms": f"{1000 * one.seconds:.1f} ms",
                "body": _excerpt(one.body),
                "chosen": one is self.answer,
            }
            for one in self.history
        ]


def _excerpt(body: str) -> str:
    """Return the beginning of a body, on one line and without unneeded whitespace."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        text = " ".join(body.split())
    return text[:_SHOWN_OF_BODY]


def _failed(answer: Answer, error: MlmgmtError) -> Answer:
    return answer._replace(error=error.message, fix=error.fix or "")
