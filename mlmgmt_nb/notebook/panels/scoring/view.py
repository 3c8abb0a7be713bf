"""`ScoringPanel`: a form for the input of a service, and its answers."""

from __future__ import annotations

import json
from typing import Any

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.commands.usage import Usage, pretty
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.notebook.display.code import highlighted
from mlmgmt_nb.notebook.display.html import escape, table
from mlmgmt_nb.notebook.panels.frontend import frontend
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.notebook.panels.scoring.form import Column, Field
from mlmgmt_nb.notebook.panels.scoring.kinds import GivenText, text_of
from mlmgmt_nb.notebook.panels.scoring.state import Answer, ScoringState

__all__ = ["ScoringPanel"]

_LONGEST_CODE = 20_000
_MOST_HIGHLIGHTED = 10_000
_SAVED_ROWS = 20


class ScoringPanel(Panel):
    """A scoring console: the input of a service as a form or JSON, starting with its sample; answers; and client code.

    Display it as the last expression of a cell. It contains no keys: client code reads the key from the environment.

    Args:
        workspace: the account.
        service: the service, its id or its name.
        timeout: maximum number of seconds to wait for an answer.
        **feeds: see `Panel`.

    Attributes:
        scoring: the state of the panel.

    Raises:
        NotFoundError, UsageError: the service does not exist, or is not running.
    """

    def __init__(
        self, workspace: Workspace, service: ServiceResponse | str, *, timeout: float = 60.0, **feeds: Any
    ) -> None:
        super().__init__(**feeds)
        services = workspace.services
        self._service = services.get((service.id or "") if isinstance(service, ServiceResponse) else service)
        name = self._service.name or ""  # by name: it may be recreated while the panel is open
        self.scoring = ScoringState(lambda body: services.ask(name, body, timeout=timeout), services.description(name))
        self._refused = 0
        self._frontend: Any = None

    @property
    def answer(self) -> Any:
        """The value of the current answer: the last one, or the one chosen in the history. None without an answer."""
        with self.lock:
            return self.scoring.answer.value if self.scoring.answer else None

    def send(self) -> None:
        """Send the input in the background, unless a field has a problem. The panel shows the answer later."""
        with self.lock:
            try:
                body = self.scoring.input.check()
            except UsageError:
                self._refused += 1
                self.changed()
                return
            self._refused = 0
        self.do(lambda: self._sent(body))

    def _sent(self, body: str) -> None:
        """Send a body, and store its answer, in the worker thread."""
        answer = self.scoring.ask(body)
        with self.lock:
            self.scoring.remember(answer)

    # Panel

    def text(self) -> str:
        """Return the text for a terminal: the body of the next request, and the last answer."""
        parts = [
            f"service {self._service.name} at {self._service.scoring_uri}",
            self.scoring.input.body or "(any body)",
        ]
        if answer := self.scoring.answer:
            parts += [_line(answer), "\n".join((answer.error, answer.fix)) if answer.error else pretty(answer.value)]
        else:
            parts.append(f"Score data with `%mlmgmt service run -n {self._service.name} -d DATA`.")
        return "\n".join(parts)

    def html(self) -> str:
        name, uri = escape(self._service.name or ""), escape(self._service.scoring_uri or "")
        head = f"<div><b>{name}</b> <code>{uri}</code></div>"
        answer = self.scoring.answer
        body = answer.body if answer else self.scoring.input.body
        sent = f"<pre>{escape(body[:_LONGEST_CODE])}</pre>" if body else ""
        return head + sent + (_answer(answer) if answer else "")

    def build(self) -> Any:
        self._frontend = frontend("scoring", self.shown(), self._on_message)
        return self._frontend

    def draw(self) -> None:
        self._frontend.shown = self.shown()

    def shown(self) -> dict[str, Any]:
        """Return the state for the frontend."""
        given, scoring = self.scoring.input, self.scoring
        return {
            "title": self._service.name,
            "uri": self._service.scoring_uri,
            "fields": [_field(field, given.problems.get(field.name, {})) for field in given.fields],
            "formChanges": given.form_changes,
            "body": given.body,
            "bodyChanges": given.body_changes,
            "problem": given.problem,
            "sending": self.is_working,
            "refused": self._refused if given.has_problems else 0,
            "answer": self._shown_answer(),
            "history": scoring.recent(),
            "code": self._code(),
        }

    def _shown_answer(self) -> dict[str, Any] | None:
        answer = self.scoring.answer
        if answer is None:
            return None
        shown = answer.shown(self.scoring.input.body)
        text = shown["text"]
        is_json = not isinstance(answer.value, str) and len(text) <= _MOST_HIGHLIGHTED
        return {**shown, "markup": highlighted(text, "json") if is_json else escape(text)}

    def _code(self) -> dict[str, str]:
        """Return client code for the next request, as HTML."""
        body = self.scoring.input.body
        if len(body) > _LONGEST_CODE:
            note = escape(f"The input of {len(body):,} characters is too long to show as code.")
            return {"curl": note, "python": note}
        try:
            sample = json.loads(body)
        except ValueError:
            sample = body
        usage = Usage(self._service.name or "", self._service.scoring_uri or "", "", sample)
        return {"curl": highlighted(usage.curl, "bash"), "python": highlighted(usage.python, "python")}

    def _on_message(self, message: dict[str, Any]) -> None:
        """Handle a message of the frontend. Callbacks must return quickly, so the worker thread sends requests."""
        given = self.scoring.input
        name, text = str(message.get("field", "")), str(message.get("text", ""))
        row, column = int(message.get("row", 0)), int(message.get("column", 0))
        changes: dict[str, Any] = {
            "set": lambda: given.edit(name, lambda field: setattr(field, "text", text), is_typed=True),
            "cell": lambda: given.edit(name, lambda field: field.set_cell(row, column, text), is_typed=True),
            "paste": lambda: given.edit(name, lambda field: field.paste(row, column, text)),
            "add": lambda: given.edit(name, Field.add_row),
            "remove": lambda: given.edit(name, lambda field: field.remove_row(row)),
            "body": lambda: given.set_body(text, is_typed=True),
            "choose": lambda: self.scoring.choose(row),
        }
        with self.lock:
            if message.get("do") == "send":
                self.send()
                return
            change = changes.get(message.get("do", ""))
            if change is not None:
                change()
                self.fail(None)
        self.changed()


def _field(field: Field, problems: dict[str, str]) -> dict[str, Any]:
    return {
        "name": field.name,
        "kind": field.kind if field.kind != "table" or field.is_table else "json",
        "required": field.is_required,
        "hint": field.rule.hint(field.kind),
        "choices": [text_of("choice", choice) for choice in field.rule.choices],
        "columns": [_column(column) for column in field.columns] if field.is_table else [],
        "text": _unless_null(field.text),
        "rows": [list(map(_unless_null, row)) for row in field.rows] if field.is_table else [],
        "isOneColumn": field.shape == "values",
        "problems": problems,
    }


def _unless_null(text: str) -> str | None:
    """Return the text of a field or cell for the frontend, or None for an unchanged null."""
    return None if isinstance(text, GivenText) and text.value is None and not text else str(text)


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "kind": column.kind,
        "hint": column.rule.hint(column.kind),
        "hasZone": column.rule.has_zone,
        "choices": [text_of("choice", choice) for choice in column.rule.choices],
    }


def _line(answer: Answer) -> str:
    request = f", request {answer.request_id}" if answer.request_id else ""
    return f"{answer.words}, {1000 * answer.seconds:.1f} ms{request}"


def _answer(answer: Answer) -> str:
    """Return an answer as static HTML."""
    shown = answer.shown(answer.body)
    head = f"<div><b>{escape(_line(answer))}</b></div>"
    if shown["error"]:
        return f"{head}<div>{escape(shown['error'])}<br>{escape(shown['fix'])}</div>"
    if shown["columns"]:
        more = max(0, len(shown["rows"]) + shown["more"] - _SAVED_ROWS)
        hidden = {"rows": more, "columns": shown["moreColumns"]}
        rest = [f"{count:,} more {kind}" for kind, count in hidden.items() if count]
        note = f"<div>and {' and '.join(rest)}</div>" if rest else ""
        return head + table(shown["columns"], shown["rows"][:_SAVED_ROWS], label="answer") + note
    return f"{head}<pre>{escape(shown['text'])}</pre>"
