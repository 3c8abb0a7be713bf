"""The grammar of commands: commands, their flags, and the conversion of tokens to arguments.

A token is text or, in a notebook, any Python value.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Generic, Literal, NoReturn, TypeVar, cast

from mlmgmt_nb.errors import UsageError

__all__ = ["Command", "Flag", "Help", "Kind", "Token", "metavar", "nearest", "parse_flags"]

Token = Any
"""Text, or a Python value of the notebook."""

Kind = Literal["text", "many", "integer", "number", "switch", "yes-no", "value"]
"""The kind of value: text, repeatable text, an integer, a number, no value, true or false, or any Python value."""

_WORDS_FOR_TRUE, _WORDS_FOR_FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_VALUE = "\ue000"  # private-use character before the number of a Python value among the tokens


@dataclass(frozen=True)
class Flag:
    """A flag of a command, or a positional argument if the name has no dashes.

    Attributes:
        names: all its names, separated by blanks; the last one names the argument.
        help: its meaning, in a few words.
        kind: the kind of its value.
        choices: the allowed texts; empty if any text is allowed.
        required: whether it must be given.
        default: its value if it is not given.
        completes: the source of its completions, such as `path` or a kind of resource.
        metavar: placeholder for its value in the help.
        api: client arguments that it sets, separated by blanks. `autoscaler.NAME` sets a key of a mapping.
    """

    names: str
    help: str
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    required: bool = False
    default: Any = None
    completes: str = ""
    metavar: str | None = None
    api: str = ""

    @property
    def dest(self) -> str:
        """Name of the argument."""
        return self.names.split()[-1].lstrip("-").replace("-", "_")

    @property
    def shortest(self) -> str:
        """Last of its single-letter names, or its last name if there is none."""
        names = self.names.split()[::-1]
        return next((name for name in names if len(name) == 2), names[0])

    @property
    def is_positional(self) -> bool:
        """Whether it is a positional argument."""
        return not self.names.startswith("-")


class Help(str):
    """Help, as text."""

    __slots__ = ()


A = TypeVar("A")

_UNTYPED = cast("Callable[..., Any]", SimpleNamespace)
"""The type of the arguments of commands without a type of their own."""


@dataclass(frozen=True)
class Command(Generic[A]):
    """A command.

    Attributes:
        words: the words that call it.
        help: its purpose, in one sentence.
        example: an example command line.
        run: runs the command, given the session and the arguments. Returns a value such as a resource, pager or text.
        flags: its flags.
        operations: the operations of the contract that it covers.
        waits: whether it returns a poller whose operation is waited for.
        arguments: type of its arguments, a dataclass with a field for each flag.
    """

    words: tuple[str, ...]
    help: str
    example: str
    run: Callable[[Any, A], Any]
    flags: tuple[Flag, ...] = ()
    operations: tuple[str, ...] = ()
    waits: bool = False
    arguments: Callable[..., A] = _UNTYPED

    @property
    def name(self) -> str:
        """Its words, separated by blanks."""
        return " ".join(self.words)


class _Format(argparse.RawDescriptionHelpFormatter):
    """Help that shows the value of a flag once, not after each name of the flag."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=f"See `{self.prog} --help`.")


def parse_flags(command: Command[A], tokens: Sequence[Token], common: Sequence[Flag], prog: str) -> A | Help:
    """Parse the tokens after the words of a command. Return its arguments, or its help if they request it.

    Args:
        command: the command.
        tokens: the tokens.
        common: flags that every command has.
        prog: the command as the user calls it, for messages.

    Raises:
        UsageError: a flag is unknown, missing, or has an invalid value.
    """
    flags = [*command.flags, *common]
    parser = _parser(command, flags, prog)
    if any(token in ("-h", "--help") for token in tokens if isinstance(token, str)):
        return Help(parser.format_help())
    texts, values = _with_placeholders(tokens)
    parsed, rest = parser.parse_known_args(texts)
    if rest:
        raise _unknown(rest, [flag for flag in flags if getattr(parsed, flag.dest) is None], flags, prog)
    given = {flag.dest: _value(flag, _with_values(getattr(parsed, flag.dest), values), prog) for flag in flags}
    return command.arguments(**given)


def nearest(word: str, known: Iterator[str] | Sequence[str]) -> str:
    """Return a hint with the closest match, or ""."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else ""


def _parser(command: Command[Any], flags: Sequence[Flag], prog: str) -> _Parser:
    in_notebook = prog.startswith("%") and not command.example.startswith("%")
    parser = _Parser(
        prog=prog,
        usage=_usage(flags, prog).replace("%", "%%"),
        description=command.help,
        epilog=f"example:\n  {'%' * in_notebook}{command.example}",
        formatter_class=_Format,
        add_help=False,
        allow_abbrev=False,
    )
    for flag in flags:
        options: dict[str, Any] = {"help": _about(flag), "default": None}
        if flag.kind == "switch":
            options["action"] = "store_const"
            options["const"] = True
        else:
            options["metavar"] = metavar(flag)
        if flag.kind == "many":
            options["action"] = "append"
        if flag.kind == "yes-no":
            options["nargs"], options["const"] = "?", "true"
        if flag.is_positional:
            parser.add_argument(flag.dest, nargs=None if flag.required else "?", help=flag.help, metavar=metavar(flag))
        else:
            parser.add_argument(*flag.names.split(), dest=flag.dest, **options)
    return parser


def _about(flag: Flag) -> str:
    """Return the help of a flag, with its default."""
    if flag.required:
        return f"{flag.help} (required)"
    if flag.default is None:
        return flag.help
    default = str(flag.default).lower() if flag.kind == "yes-no" else flag.default
    return f"{flag.help} (default: {default})"


def _usage(flags: Sequence[Flag], prog: str) -> str:
    """Return the usage line with the required flags only. The help lists all flags."""
    needed = [flag for flag in flags if flag.required]
    parts = [metavar(f) if f.is_positional else f"{f.shortest} {metavar(f)}" for f in needed]
    return " ".join([prog, *parts, "[flags]"])


def metavar(flag: Flag) -> str:
    """Return the placeholder for the value of a flag in help."""
    if flag.choices:
        return "|".join(flag.choices)
    return flag.metavar or ("true|false" if flag.kind == "yes-no" else flag.dest.upper())


def _with_placeholders(tokens: Sequence[Token]) -> tuple[list[str], list[Any]]:
    """Return the tokens with placeholders for Python values, which argparse cannot parse, and the values."""
    values = [token for token in tokens if not isinstance(token, str)]
    numbers = iter(range(len(values)))
    return [token if isinstance(token, str) else f"{_VALUE}{next(numbers)}" for token in tokens], values


def _with_values(given: Any, values: Sequence[Any]) -> Any:
    """Replace placeholders with their Python values. For a repeatable flag, a list adds its items."""
    if isinstance(given, list):
        items = [_with_values(item, values) for item in given]
        return [part for item in items for part in (item if isinstance(item, (list, tuple)) else [item])]
    if isinstance(given, str) and given.startswith(_VALUE):
        return values[int(given[1:])]
    return given


def _value(flag: Flag, given: Any, prog: str) -> Any:
    """Return the value of a flag in the arguments of its command, from the value given, or None.

    Raises:
        UsageError: the value is missing or not valid.
    """
    if flag.required and given is None:
        raise UsageError(f"{prog}: {flag.names.split()[-1]} is missing", field=flag.dest, fix=f"Give it: {flag.help}.")
    return _unset(flag) if given is None else _converted(flag, given, prog)


def _unset(flag: Flag) -> Any:
    """Return the value of a flag that was not given."""
    if flag.default is None and flag.kind in {"switch", "many"}:
        return False if flag.kind == "switch" else ()
    return flag.default


def _converted(flag: Flag, given: Any, prog: str) -> Any:
    name = flag.names.split()[-1]
    if flag.kind in {"integer", "number"}:
        try:
            return int(given) if flag.kind == "integer" else float(given)
        except (TypeError, ValueError) as error:
            what = "a whole number" if flag.kind == "integer" else "a number"
            raise UsageError(f"{prog}: {name} is {given!r}, which is not {what}", field=flag.dest) from error
    if flag.kind == "yes-no" and not isinstance(given, bool):
        word = str(given).lower()
        if word not in _WORDS_FOR_TRUE | _WORDS_FOR_FALSE:
            raise UsageError(f"{prog}: {name} is {given!r}", field=flag.dest, fix="Give true or false.")
        return word in _WORDS_FOR_TRUE
    if flag.choices and given not in flag.choices:
        raise UsageError(
            f"{prog}: {name} is {given!r}.{nearest(str(given), flag.choices)}",
            field=flag.dest,
            fix=f"Give one of {', '.join(flag.choices)}.",
        )
    return given


def _unknown(rest: Sequence[str], missing: Sequence[Flag], flags: Sequence[Flag], prog: str) -> UsageError:
    word = next((text for text in rest if text.startswith("-")), rest[0])
    shown = "a Python value" if word.startswith(_VALUE) else repr(word)
    hint = _hint(word, missing, flags)
    return UsageError(f"{prog}: {shown} is not understood.{hint}", field=word, fix=f"See `{prog} --help`.")


def _hint(word: str, missing: Sequence[Flag], flags: Sequence[Flag]) -> str:
    """Return a hint for a word that is neither a flag nor the value of one."""
    if word.startswith(("-", _VALUE)):
        known = [name for flag in flags for name in flag.names.split() if name.startswith("--")]
        return nearest(word.partition("=")[0], known)
    wanted = next((flag for flag in missing if flag.required and not flag.is_positional), None)
    if wanted is not None:
        return f" Did you mean `{wanted.shortest} {word}`?"
    if word.startswith("#"):
        return " A command cannot contain a comment."
    return " Put quotes around a value that has blanks."


def flags_by_name(flags: Sequence[Flag]) -> Mapping[str, Flag]:
    """Return the flags by each of their names."""
    return {name: flag for flag in flags for name in flag.names.split()}
