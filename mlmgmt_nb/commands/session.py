"""A session of commands: its settings, its workspace, and the execution of commands from tokens."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any, cast

from mlmgmt_nb import local
from mlmgmt_nb.client import ScoringReport, ScoringTest, SignIn, Workspace, connect
from mlmgmt_nb.client.auth.signin import Method
from mlmgmt_nb.client.http.credentials import TokenCredential
from mlmgmt_nb.client.http.forks import ForkLock
from mlmgmt_nb.commands.advice import advice
from mlmgmt_nb.commands.config import Config, Setting
from mlmgmt_nb.commands.flags import COMMON, OUTPUTS, WAITING, WAITING_AFTER_BUILD, CommonArguments
from mlmgmt_nb.commands.grammar import Command, Flag, Help, Token, nearest, parse_flags
from mlmgmt_nb.commands.upload_progress import Meter
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.other_tools import advice_for_command

__all__ = ["COMMON", "OPTIONAL_WORDS", "SIGN_IN", "WAITING", "Outcome", "Session"]

OPTIONAL_WORDS = frozenset({"realtime", "modelmanagement"})
"""Optional words of the 2017 command line."""

SIGN_IN = ("sign_in", "tenant", "client_id", "certificate", "authority", "token_cache")
"""The settings for sign-in."""
PLACE = ("home", "base_url", "subscription", "resource_group", "account", "scope", *SIGN_IN)
"""The settings that identify the account and the connection to it."""


def _no_meter(_: str) -> None:
    """Return no meter."""


def _unshown_note(_: str) -> None:
    """Ignore a note."""


def _run_without_progress(test: ScoringTest) -> ScoringReport:
    """Run a scoring test without showing its progress."""
    return test.run()


@dataclass(frozen=True)
class Outcome:
    """The result of a command, with its arguments. `command` is None for help."""

    value: Any
    arguments: CommonArguments
    command: Command[Any] | None


class Session:
    """A sequence of commands, each against the workspace that its settings name.

    Args:
        commands: the table of commands.
        config: the configuration file and the environment.
        prog: the program as the user calls it, for messages: `mlmgmt` or `%mlmgmt`.
        report: called with the name and seconds of each step of a command with several steps.
        uploading: returns the progress meter for the upload of a file, given its path; None for no meter.
        testing: runs a scoring test and shows its progress.
        stays: whether the process continues after a command, so that work can continue in the background.
        tell: called with notes in addition to the result, each a sentence.

    Attributes:
        body: the body of the cell that the command is called in, or None.
        last_error: the error of the last command that failed, or None.
    """

    def __init__(
        self,
        commands: Sequence[Command[Any]],
        *,
        config: Config | None = None,
        prog: str = "mlmgmt",
        report: Callable[[str, float], None] | None = None,
        uploading: Callable[[str], Meter | None] = _no_meter,
        testing: Callable[[ScoringTest], ScoringReport] = _run_without_progress,
        stays: bool = False,
        tell: Callable[[str], None] = _unshown_note,
    ) -> None:
        self.commands = {command.words: command for command in commands}
        self.config = config or Config()
        self.prog = prog
        self.report = report
        self.uploading = uploading
        self.testing = testing
        self.stays = stays
        self.tell = tell
        self.settings: dict[str, Setting] = {}
        self.last_error: BaseException | None = None
        self.body: str | None = None
        self._workspaces: dict[tuple[str | None, ...], Workspace] = {}
        self._credentials: dict[str, TokenCredential] = {}
        self._connecting = ForkLock(threading.RLock)

    @property
    def workspace(self) -> Workspace:
        """The workspace of the current settings, connected on first use. Workspaces of other settings stay open."""
        with self._connecting:  # the completer calls it from another thread
            if not self.settings:
                self.settings = self.config.settings({})
            key = self._workspace_key()
            if key not in self._workspaces:
                self._workspaces[key] = self._connected()
            return self._workspaces[key]

    def _connected(self) -> Workspace:
        home, base_url = self.setting("home"), self.setting("base_url")
        connect_to = partial(
            connect,
            subscription=self.setting("subscription"),
            resource_group=self.setting("resource_group"),
            account=self.setting("account"),
        )
        if not base_url or (home and self._takes_precedence("home", "base_url")):
            return connect_to(home=home)
        connect_to = partial(connect_to, base_url=base_url, scope=self.setting("scope"))
        if os.environ.get("MLMGMT_TOKEN") or not any(self.setting(name) for name in SIGN_IN):
            return connect_to()
        return connect_to(sign_in=self.sign_in()) if self.credential is None else connect_to(credential=self.credential)

    def _workspace_key(self) -> tuple[str | None, ...]:
        """Return the settings that identify a workspace."""
        return (*(self.setting(name) for name in PLACE), self._signed_in_as)

    @property
    def credential(self) -> TokenCredential | None:
        """The credential from `login` in this session for the current profile, or None."""
        return self._credentials.get(self.setting("profile") or "")

    def signed_in(self, credential: TokenCredential | None) -> None:
        """Store the credential from `login` for the current profile; None removes it."""
        profile = self.setting("profile") or ""
        if credential is None:
            self._credentials.pop(profile, None)
        else:
            self._credentials[profile] = credential

    @property
    def _signed_in_as(self) -> str | None:
        return None if self.credential is None else str(id(self.credential))

    def sign_in(self, **given: str | None) -> SignIn:
        """Return the sign-in configuration from the arguments and the settings."""
        chosen = {name: given.get(name) or self.setting(name) for name in SIGN_IN}
        persistent = str(chosen.pop("token_cache") or "no").lower() in {"yes", "true", "1"}
        method = chosen.pop("sign_in") or "default"
        return SignIn(method=cast("Method", method), persistent=persistent, **chosen)

    def reachable(self) -> Workspace | None:
        """Return the workspace if it is available without starting a service. For completion."""
        base_url, home = self.setting("base_url"), self.setting("home")
        is_there = self._workspace_key() in self._workspaces or base_url or local.find(home) is not None
        return self.workspace if is_there else None

    def setting(self, name: str) -> str | None:
        """Return the value of a setting for the running command."""
        return (self.settings or self.config.settings({}))[name].value

    def execute(self, tokens: Sequence[Token]) -> Outcome:
        """Run the command that the tokens name, or return help if they request it.

        Raises:
            MlmgmtError: the command failed. The error is stored as `last_error`.
        """
        try:
            command, rest = self.find(tokens)
            if command is None:
                return Outcome(self.help(tokens), CommonArguments(), None)
            arguments = parse_flags(command, rest, self.common(command), f"{self.prog} {command.name}")
            if isinstance(arguments, Help):
                return Outcome(arguments, CommonArguments(), None)
            given = {name: getattr(arguments, name) for name in ("home", "base_url", "output")}
            makes_profile = command.words == ("account", "create")  # its profile may not exist yet
            self.settings = self.config.settings(given, "default" if makes_profile else arguments.profile)
            if command.words[0] not in {"config", "account"}:  # these commands can correct it
                _check_output(self.settings["output"])
            with self.advice(command, arguments), self.reported(arguments):
                return Outcome(command.run(self, arguments), arguments, command)
        except Exception as error:
            self.last_error = error
            raise

    def advice(self, command: Command[Any] | None, arguments: CommonArguments) -> AbstractContextManager[None]:
        """Make errors raised in the block name flags and commands instead of Python."""
        return advice(self.prog, command.flags if command else (), arguments)

    def reported(self, arguments: CommonArguments) -> AbstractContextManager[None]:
        """Show the requests of the block if `--verbose` is given. Those of a list are sent when it is shown."""
        return _report_requests(self.tell if arguments.verbose else None)

    def common(self, command: Command[Any]) -> tuple[Flag, ...]:
        """Return the common flags of a command, without the names that its own flags use."""
        taken = {name for flag in command.flags for name in flag.names.split()}
        may_build = any(flag.dest == "image_id" for flag in command.flags)
        waiting = (WAITING_AFTER_BUILD if may_build else WAITING) if command.waits else ()
        return tuple(_without(flag, taken) for flag in (*waiting, *COMMON))

    def find(self, tokens: Sequence[Token]) -> tuple[Command[Any] | None, Sequence[Token]]:
        """Return the command that the tokens start with, or None for help on a group, and the tokens after its words.

        Raises:
            UsageError: the command is unknown; the message names the closest match.
        """
        words, after = _leading_words(tokens)
        for length in range(len(words), 0, -1):
            command = self.commands.get(tuple(words[:length]))
            if command is not None:
                return command, [*words[length:], *after]
        is_group = any(known[: len(words)] == tuple(words) for known in self.commands)
        if is_group and all(token in ("-h", "--help") for token in after):
            return None, []
        spoken = list(takewhile(lambda token: isinstance(token, str) and not token.startswith("-"), tokens))
        if moved := advice_for_command(spoken, self.prog, self.commands):
            raise UsageError(f"{moved.problem}.", fix=moved.fix)
        raise self._no_command(words, is_group=is_group)

    def help(self, tokens: Sequence[Token]) -> Help:
        """Return the commands of a group, or all commands without a group, one per line."""
        words, _ = _leading_words(tokens)
        under = [command for known, command in self.commands.items() if known[: len(words)] == tuple(words)]
        width = max(len(command.name) for command in under)
        lines = [f"  {command.name:<{width}}  {command.help}" for command in under]
        title = " ".join([self.prog, *words])
        return Help(
            "\n".join([f"usage: {title} COMMAND ...", "", *lines, "", f"`{self.prog} COMMAND -h` shows details."])
        )

    def close(self) -> None:
        """Close the connections. May be called again."""
        with self._connecting:
            for workspace in self._workspaces.values():
                workspace.close()
            self._workspaces.clear()

    def _takes_precedence(self, one: str, other: str) -> bool:
        """Return whether the source of one setting takes precedence over the source of another."""
        order = ("the argument", "the environment", str(self.config.path), "default")
        return _rank(self.settings[one].source, order) < _rank(self.settings[other].source, order)

    def _no_command(self, words: Sequence[str], *, is_group: bool) -> UsageError:
        text = " ".join(words)
        if not words:
            return UsageError(
                f"the command is missing: put it before the flags, as in `{self.prog} model list --tag prod`",
                fix=f"`{self.prog} -h` lists the commands.",
            )
        if is_group:
            return UsageError(
                f"`{self.prog} {text}` is not complete",
                fix=f"`{self.prog} {text} -h` lists the commands that complete it.",
            )
        if words[0] in _KEPT and _DELETING.intersection(words[1:2]):
            why = f"the API has no delete of {words[0]}s, since a service may go back to one"
            hide = "" if words[0] == "deployment" else f"Hide it with `{self.prog} {words[0]} archive`; "
            return UsageError(
                f"`{self.prog} {text}` does not exist: {why}",
                fix=f"{hide}`mlmgmt gc --delete` in a shell removes files that nothing uses; "
                f"`{self.prog} service delete` removes a service.",
            )
        return self._unknown_command(words)

    def _unknown_command(self, words: Sequence[str]) -> UsageError:
        text = " ".join(words)
        if words[-1] == "help":
            return UsageError(
                f"unknown command `{self.prog} {text}`", fix=f"`{' '.join([self.prog, *words[:-1], '-h'])}` shows help."
            )
        if words[:2] == ["service", "scale"]:
            return UsageError(
                f"unknown command `{self.prog} {text}`",
                fix=f"`{self.prog} service update -n NAME -z 3` sets the number of replicas.",
            )
        group = words[:1] if any(known[:1] == tuple(words[:1]) for known in self.commands) else []
        names = [" ".join(known) for known in self.commands if list(known[: len(group)]) == group]
        if group:
            hint = nearest(" ".join(words[1:]), [name.partition(" ")[2] for name in names])
            hint = hint.replace("mean `", f"mean `{words[0]} ")
        else:
            hint = _verb_first_hint(words, names) or self._nearest_command(words, names)
        return UsageError(
            f"unknown command `{self.prog} {text}`.{hint}",
            fix=f"`{' '.join([self.prog, *group])} -h` lists the commands.",
        )

    def _nearest_command(self, words: Sequence[str], names: Sequence[str]) -> str:
        """Return a hint with the closest group or command, or ""."""
        text, groups = " ".join(words), sorted({known[0] for known in self.commands})
        hint = nearest(text, groups) if len(words) == 1 else ""
        return hint or nearest(text, names) or nearest(words[0], groups)


_KEPT = frozenset({"deployment", "image", "manifest", "model"})
_DELETING = frozenset({"delete", "remove", "rm"})


class _LogForwarder(logging.Handler):
    """Forward log records as text."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(self.format(record))


@contextmanager
def _report_requests(tell: Callable[[str], None] | None) -> Iterator[None]:
    """Report the requests that the client sends in the block, if there is a receiver."""
    if tell is None:
        yield
        return
    log, teller = logging.getLogger("mlmgmt_nb.client.http.transport"), _LogForwarder(tell)
    level = log.level
    log.addHandler(teller)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(teller)


def _without(flag: Flag, taken: set[str]) -> Flag:
    left = [name for name in flag.names.split() if name not in taken]
    return flag if len(left) == len(flag.names.split()) else replace(flag, names=" ".join(left))


def _leading_words(tokens: Sequence[Token]) -> tuple[list[str], list[Token]]:
    """Return the words before the first flag or value (at most three), and the remaining tokens."""
    words: list[str] = []
    for position, token in enumerate(tokens):
        if not isinstance(token, str) or token.startswith("-") or len(words) == 3:
            return words, list(tokens[position:])
        if token not in OPTIONAL_WORDS or not words:
            words.append(token)
    return words, []


def _check_output(setting: Setting) -> None:
    if setting.value not in OUTPUTS:
        raise UsageError(
            f"output is {setting.value!r} ({setting.source}).{nearest(setting.value or '', OUTPUTS)}",
            field="output",
            fix=f"Use one of {', '.join(OUTPUTS)}, as in `config set output table`.",
        )


def _verb_first_hint(words: Sequence[str], names: Sequence[str]) -> str:
    """Return a hint for a command that starts with the verb, such as `list models`, or is only a verb."""
    if len(words) == 1:
        same = [name for name in names if name.split()[1:] == list(words)]
        return f" Did you mean one of {', '.join(f'`{name}`' for name in same)}?" if same else ""
    name = " ".join([word.removesuffix("s") for word in words[1:2]] + list(words[:1]))
    return f" Did you mean `{name}`?" if name in names else ""


def _rank(source: str, order: Sequence[str]) -> int:
    return next(place for place, start in enumerate(order) if source.startswith(start))
