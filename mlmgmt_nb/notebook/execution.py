"""Execution of magic lines: they take values of the notebook, and return values or display results."""

from __future__ import annotations

import ast
import datetime as dt
import itertools
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from mlmgmt_nb.client import Pager, Poller, ScoringReport, ScoringTest
from mlmgmt_nb.client.deploying.verification import DeployedService
from mlmgmt_nb.client.monitoring.conditions import condition_of
from mlmgmt_nb.client.monitoring.log_lines import readable_log
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.commands import COMMANDS, Help, Outcome, Session
from mlmgmt_nb.commands.completion import Completer
from mlmgmt_nb.commands.flags import CommonArguments, ServiceArguments, WaitingArguments
from mlmgmt_nb.commands.grammar import Flag
from mlmgmt_nb.commands.output.formats import formatted, queried
from mlmgmt_nb.commands.values import DeployForm, Keys, LogStream, SecretText, ServiceConsole, ServiceTryout, Text
from mlmgmt_nb.errors import MlmgmtError, UsageError
from mlmgmt_nb.notebook.display.outcomes import deployed_bundle
from mlmgmt_nb.notebook.display.shown import note_shown
from mlmgmt_nb.notebook.line import read_line
from mlmgmt_nb.notebook.panels import (
    ChangePanel,
    DeployPanel,
    OperationPanel,
    ScoringPanel,
    ScoringTestPanel,
    ServicePanel,
    WorkspacePanel,
)
from mlmgmt_nb.notebook.panels.keys.view import KeysPanel
from mlmgmt_nb.notebook.progress import (
    DeploySteps,
    TerminalSteps,
    print_line,
    run_in_terminal,
    upload_meter,
    wait_in_terminal,
)
from mlmgmt_nb.terminal import Terminal, is_printable, one_line

__all__ = ["CommandExecutor"]

_FIRST_COLUMNS = (
    *("name", "service_name", "version", "state", "creation_state", "status", "id", "scoring_uri", "tags"),
    *("last_operation",),
    *("updated_at", "created_at", "created_time", "description"),
)
_TAKE_VARIABLES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("service", "run"): ("-d", "--data"),
    ("service", "test"): ("--cases",),
}
_TAKE_FUNCTIONS: dict[tuple[str, ...], tuple[str, ...]] = {("service", "test"): ("--expect",)}
_WARNING = "These keys open the service: keep them out of files and logs."
_PANELS: dict[type, Callable[[Any], Any]] = {
    ServiceConsole: lambda asked: ServicePanel(asked.workspace, asked.service),
    ServiceTryout: lambda asked: ScoringPanel(asked.workspace, asked.service),
    DeployForm: lambda asked: DeployPanel(asked.workspace, asked.models, **asked.fields),
}
"""The panel for each type of value that requests one."""


class CommandExecutor:
    """Execute `%mlmgmt` lines.

    Args:
        shell: the IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.session = Session(
            COMMANDS,
            prog="%mlmgmt",
            report=self._report,
            uploading=lambda path: upload_meter(shell, path),
            testing=self._tested,
            stays=True,
            tell=lambda text: Terminal(sys.stdout).write(f"{text}\n"),
        )
        self._completer = Completer(self.session)
        self._steps: DeploySteps | TerminalSteps | None = None

    def run(self, line: str, body: str | None, scope: Mapping[str, Any] = MappingProxyType({})) -> Any:
        """Run a line.

        Args:
            line: the text after `%mlmgmt`.
            body: the rest of the cell for `%%mlmgmt`.
            scope: local names at the call site, in addition to the variables of the notebook.

        Raises:
            MlmgmtError: the command failed. IPython shows it without a traceback unless the line has `--debug`.
        """
        try:
            names = ChainMap(dict(scope), self._shell.user_ns)
            read = read_line(line, lambda expression: eval(expression, {**names}))  # noqa: S307 - the user's own
            self.session.body = self._steps = None
            tokens = self._with_variables(read.tokens if body is None else self._with_body(read.tokens, body), names)
            if not tokens and body and body.strip():
                raise UsageError(
                    "the command is missing",
                    field="line",
                    fix="Put it in the first line, as in `%%mlmgmt driver score.py`.",
                )
            value = self._presented(self.session.execute(tokens)) if tokens or body else self._overview()
        except MlmgmtError as error:
            self.session.last_error = error
            if "--debug" not in line.split():
                _shorten(error, is_terminal=not self._is_notebook)
            raise
        except KeyboardInterrupt as stop:
            # The traceback of the wait does not help the user who interrupted it.
            lines = ["KeyboardInterrupt: the cell was interrupted", *getattr(stop, "__notes__", ())]
            stop._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
            raise
        finally:
            if isinstance(self._steps, TerminalSteps):
                self._steps.clear()
        if read.target is None:
            return value
        self._shell.user_ns[read.target] = value
        return None

    def complete(self, text: str) -> tuple[str, list[str]]:
        """Return the last token of the text and its completions; see `Completer`."""
        fragment, candidates = self._completer.complete(text)
        # IPython replaces an empty list with its own guesses.
        return fragment, candidates or [fragment] * bool(fragment)

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def _with_variables(self, tokens: Sequence[Any], names: Mapping[str, Any]) -> list[Any]:
        """Replace bare variable names with their values where a flag takes data, as in `-d df`.

        For flags that take a name or a function, as in `--expect is_right`, replace only the names of functions.
        """
        command, _ = self.session.find(tokens)
        words = command.words if command else ()
        found = list(tokens)
        for place, (before, token) in enumerate(itertools.pairwise(tokens), start=1):
            if not isinstance(before, str) or not isinstance(token, str):
                continue
            value = names.get(token, token)
            if before in _TAKE_VARIABLES.get(words, ()) or (
                before in _TAKE_FUNCTIONS.get(words, ()) and callable(value)
            ):
                found[place] = value
        return found

    def _with_body(self, tokens: Sequence[Any], body: str) -> list[Any]:
        """Return the tokens, followed by the tokens from the body of the cell."""
        command, _ = self.session.find(tokens)
        if command is None or not body.strip():
            return list(tokens)
        if command.words == ("driver",):
            self.session.body = body
            return list(tokens)
        if command.words == ("service", "run"):
            return [*tokens, "--data", _data(body)]
        return [*tokens, *_flags([*command.flags, *self.session.common(command)], body)]

    def _overview(self) -> WorkspacePanel | None:
        """Return the workspace panel; in a terminal, print the commands, and the models if the service runs."""
        self.session.settings = self.session.config.settings({})  # without the flags of an earlier line
        if hasattr(self._shell, "kernel"):
            return WorkspacePanel(self.session.workspace)
        sys.stdout.write(self.session.help([]).rstrip() + "\n")
        workspace = self.session.reachable()
        if workspace is not None:
            sys.stdout.write("\n")
            WorkspacePanel(workspace).show()
        return None

    def _presented(self, outcome: Outcome) -> Any:
        """Show the outcome, and return the value of the magic."""
        value, arguments = outcome.value, outcome.arguments
        if isinstance(value, Help):
            sys.stdout.write(value.rstrip() + "\n")
            return None
        if isinstance(value, LogStream):
            return _follow(value)
        if isinstance(value, ScoringTest):
            if self._is_notebook:
                ScoringTestPanel(value).show()
            return value
        if type(value) in _PANELS:
            return _PANELS[type(value)](value)
        if isinstance(value, Poller):
            self._completer.remember(value.operation_id)
            self._show_operation(value, outcome)
        if isinstance(value, Keys) and value.shown:
            return self._shown_keys(value, arguments)
        with self.session.reported(arguments):
            if isinstance(value, Pager) and arguments.output == "wide" and not arguments.query and self._is_notebook:
                return _frame(value, is_wide=True)
            return _as_requested(value, arguments)

    def _shown_keys(self, keys: Keys, arguments: CommonArguments) -> Any:
        """Show the keys in a panel, or return them as secret text. No key is saved with the notebook."""
        if arguments.output:
            return SecretText(formatted(keys, arguments.output, arguments.query))
        if arguments.query:
            found = queried(keys, arguments.query)
            return SecretText(found if isinstance(found, str) else formatted(found, "json"))
        if self._is_notebook and isinstance(arguments, ServiceArguments):
            KeysPanel(self.session.workspace, arguments.service).show()
        else:
            Terminal(sys.stdout).write(f"{formatted(keys, 'table')}\n{_WARNING}\n")
        return keys

    @property
    def _is_notebook(self) -> bool:
        return hasattr(self._shell, "kernel")

    def _tested(self, test: ScoringTest) -> ScoringReport:
        """Run a scoring test and show it."""
        return ScoringTestPanel(test).run() if self._is_notebook else run_in_terminal(test)

    def _show_operation(self, poller: Poller[Any], outcome: Outcome) -> None:
        """Wait for an operation, or show it in a panel that updates in the background."""
        arguments = outcome.arguments
        if not isinstance(arguments, WaitingArguments):
            return
        if not arguments.no_wait:
            with self.session.advice(outcome.command, arguments):
                self._wait(poller, arguments.timeout)
        elif self._is_notebook and not arguments.output:
            OperationPanel(poller).show()

    def _report(self, step: str, seconds: float) -> None:
        """Show a completed step. The steps of packaging share one output, which the result replaces."""
        if step.startswith("package"):
            self._steps = DeploySteps() if self._is_notebook else TerminalSteps() if sys.stdout.isatty() else None
        (self._steps.add if self._steps else print_line)(f"{step:<9} {seconds:.2f} s")

    def _wait(self, poller: Poller[Any], timeout: float | None) -> None:
        """Wait for an operation and show it. In a notebook, a verified service replaces the steps."""
        steps = self._steps
        if not self._is_notebook:
            wait_in_terminal(poller, timeout, steps.add if steps else print_line)
            return
        OperationPanel(poller, live=steps if isinstance(steps, DeploySteps) else None).wait(timeout)
        service = poller.result()
        if isinstance(steps, DeploySteps) and isinstance(service, DeployedService):
            steps.show(deployed_bundle(service))
            note_shown(poller)  # the result of the cell does not repeat it
        if isinstance(service, ProposedChange):
            ChangePanel(service).show()
            note_shown(poller)


def _as_requested(value: Any, arguments: CommonArguments) -> Any:
    """Return a value in the output format or as the query result that the arguments request; lists as DataFrames."""
    if arguments.output:
        shown = value.result() if isinstance(value, Poller) and value.done() else value
        return Text(formatted(shown, arguments.output, arguments.query))
    if arguments.query:
        return queried(value, arguments.query)
    return _frame(value) if isinstance(value, Pager) else value


def _frame(pager: Pager[Any], *, is_wide: bool = False) -> Any:
    """Return the resources as a DataFrame for display, with the important columns first and only printable text."""
    from mlmgmt_nb.notebook.display.listed import ListedFrame  # pandas is imported only when it is needed

    frame = pager.to_frame()
    if "scoring_uri" in frame.columns:  # services
        _separate_conditions(frame)
    _escape_unprintable(frame)
    first = [name for name in _FIRST_COLUMNS if name in frame.columns]
    ordered = frame[[*first, *(name for name in frame.columns if name not in first)]]
    return ListedFrame.of(ordered, pager.item, is_wide=is_wide)


def _separate_conditions(services: Any) -> None:
    """Separate the conditions of services from the results of their last operations."""
    parts = zip(services["state"], services["scoring_uri"].notna(), services["num_replicas"].fillna(1), strict=True)
    now = [condition_of(state, has_url=has_url, replicas=replicas) for state, has_url, replicas in parts]
    services["last_operation"], services["state"] = services["state"], now


def _escape_unprintable(frame: Any) -> None:
    for name in frame.columns:
        if not all(is_printable(value) for value in frame[name] if isinstance(value, str)):
            frame[name] = frame[name].map(lambda value: one_line(value) if isinstance(value, str) else value)


def _follow(log: LogStream) -> None:
    try:
        for part in log:
            Terminal(sys.stdout).write(readable_log(part))
    except KeyboardInterrupt:  # the user stops following the log
        log.stop()


def _shorten(error: MlmgmtError, *, is_terminal: bool) -> None:
    """Make IPython show only the message. The exception type is unchanged, so that `except` works."""
    first, *rest = str(error).splitlines() or [""]
    lines = [f"{type(error).__name__}: {first}", *rest]
    if is_terminal:  # after `%xmode Minimal`, IPython puts nothing between the parts of a traceback
        lines = ["\n".join(lines)]
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]


def _data(body: str) -> Any:
    """Parse the body of a cell: JSON, else a Python literal, else the unchanged text."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        pass
    try:
        return ast.literal_eval(body.strip())
    except (ValueError, SyntaxError):
        return body


def _flags(flags: Sequence[Flag], body: str) -> list[Any]:
    """Parse the body of a cell as flags: YAML whose keys are the long names of the flags."""
    switches = {flag.dest for flag in flags if flag.kind == "switch"}
    tokens: list[Any] = []
    for key, value in _mapping(body).items():
        name = f"--{str(key).lstrip('-').replace('_', '-')}"
        if name[2:].replace("-", "_") in switches:
            tokens += [name] if value else []
        elif value is not None:
            is_text = isinstance(value, (int, float, dt.date)) and not isinstance(value, bool)
            tokens += [name, str(value) if is_text else value]
    return tokens


def _mapping(body: str) -> dict[Any, Any]:
    from mlmgmt_nb.safe_yaml import YamlError, read_yaml  # only cells with a body need it

    try:
        given = read_yaml(body)
    except YamlError as error:
        raise UsageError(
            f"the cell is not valid YAML: {error}", field="cell", fix="Write lines such as `driver: score.py`."
        ) from error
    if not isinstance(given, dict):
        raise UsageError(
            "the cell must be a YAML mapping of flags", field="cell", fix="Write lines such as `driver: score.py`."
        )
    return given
