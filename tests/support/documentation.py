"""What makes a thing undocumented. Each check gives the faults that it finds, as lines."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mlmgmt_nb import errors
from mlmgmt_nb.commands import Command, Flag

ERRORS = frozenset(errors.__all__)


# Python names


def public_names(modules: Iterable[types.ModuleType]) -> Iterator[tuple[str, Any]]:
    """Yield the names in `__all__` of some modules that can have a docstring."""
    for module in modules:
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isroutine(thing):
                yield f"{module.__name__}.{name}", thing


def undocumented(name: str, thing: Any, *, is_made: bool = True) -> Iterator[str]:
    """Yield the faults of a function, or of a class with its public methods and properties.

    Args:
        name: what it is called in what is told.
        thing: the function or class.
        is_made: whether users make objects of the class, so that its own arguments matter.
    """
    if not inspect.isclass(thing):
        yield from _undocumented_function(name, thing, "")
        return
    doc = thing.__dict__.get("__doc__") or ""
    if not doc.strip() or doc.startswith(f"{thing.__name__}("):  # what a NamedTuple or dataclass says by itself
        yield f"{name} has no docstring"
    if is_made and "__init__" in thing.__dict__ and not issubclass(thing, BaseException):
        yield from _unnamed_arguments(name, thing.__init__, doc + (thing.__init__.__doc__ or ""))
    for member, value in vars(thing).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not member.startswith("_") and inspect.isfunction(function):
            yield from _undocumented_function(f"{name}.{member}", function, doc)


def _undocumented_function(name: str, function: Any, of_class: str) -> Iterator[str]:
    doc = inspect.getdoc(function) or ""
    if not doc.strip():
        yield f"{name} has no docstring"
        return
    yield from _unnamed_arguments(name, function, doc + of_class)
    for error in sorted(_raised(function)):
        if not re.search(rf"\b{error}\b", doc):
            yield f"{name} raises {error}, and its docstring does not say so"


def _unnamed_arguments(name: str, function: Any, doc: str) -> Iterator[str]:
    for parameter in inspect.signature(function).parameters.values():
        word = parameter.name
        if word not in {"self", "cls"} and not word.startswith("_") and not re.search(rf"\b{word}\b", doc):
            yield f"{name} takes {word}, and its docstring does not name it"


def _raised(function: Any) -> set[str]:
    """Return the errors of ours that a function raises by itself, in so many words."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    called = [error.func if isinstance(error, ast.Call) else error for error in raised]
    return {error.id for error in called if isinstance(error, ast.Name)} & ERRORS


def given(thing: Any) -> Iterator[type]:
    """Yield the classes of ours that the methods and properties of a class give, or a function."""
    members = [*vars(thing).values()] if inspect.isclass(thing) else [thing]
    for value in members:
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and not function.__name__.startswith("_"):
            yield from _classes(_returned(function))


def _returned(function: Any) -> Any:
    names = vars(sys.modules[function.__module__])
    annotation = function.__annotations__.get("return")
    try:
        return get_type_hints(types.SimpleNamespace(__annotations__={"return": annotation}), names).get("return")
    except (NameError, TypeError):
        return None  # of pandas, or of a class that is imported for annotations only


def _classes(annotation: Any) -> Iterator[type]:
    if inspect.isclass(annotation) and annotation.__module__.startswith("mlmgmt_nb"):
        yield annotation
    origin = getattr(annotation, "__origin__", None)
    if inspect.isclass(origin) and origin.__module__.startswith("mlmgmt_nb"):
        yield origin
    for part in get_args(annotation):
        yield from _classes(part)


# Commands


def undocumented_commands(commands: Sequence[Command], common: Sequence[Flag], page: str) -> Iterator[str]:
    """Commands and flags without help or an example, or that a page does not have."""
    for command in commands:
        heading = re.search(rf"^#+ mlmgmt {re.escape(command.name)}$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        if not command.help or not command.example:
            yield f"{command.name} has no help or no example"
        if heading is None:
            yield f"{command.name} is not on the page"
            continue
        for flag in command.flags:
            yield from _undocumented_flag(command.name, flag, heading[1])
    for flag in common:
        yield from _undocumented_flag("every command", flag, page)


def _undocumented_flag(command: str, flag: Flag, section: str) -> Iterator[str]:
    shown = flag.names.split() if not flag.is_positional else [flag.metavar or flag.dest.upper()]
    if not flag.help:
        yield f"{flag.names} of {command} has no help"
    if any(not re.search(rf"`[^`]*(?<![\w-]){re.escape(name)}(?![\w-])", section) for name in shown):
        yield f"{flag.names} of {command} is not on the page"


# The environment


def environment_of(source: str) -> set[str]:
    """Return the environment variables that a module reads or speaks of, by its source."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(re.findall(r"\bMLMGMT_[A-Z_]*[A-Z]\b", node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in {"get", "getenv", "pop", "setdefault"} and _is_environment(node.func):
                found.update(_text_of(node.args[0]))
        elif isinstance(node, ast.Subscript) and _is_environment(node):
            found.update(_text_of(node.slice))
        elif isinstance(node, ast.Compare) and _is_environment(node.comparators[0]):
            found.update(_text_of(node.left))
    return found


def made_up_variables(source: str) -> list[str]:
    """Return the beginnings of variables whose names a module puts together."""
    joined = [node.values[0] for node in ast.walk(ast.parse(source)) if isinstance(node, ast.JoinedStr) and node.values]
    texts = [str(part.value) for part in joined if isinstance(part, ast.Constant)]
    return [text for text in texts if re.fullmatch(r"[A-Z]+_", text)]


def _is_environment(node: ast.AST) -> bool:
    return re.search(r"\b_?environ(ment)?\b|\bgetenv\b", ast.unparse(node)) is not None


def _text_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z][A-Z0-9_]+", str(node.value)):
        yield str(node.value)


def sources(package: Path) -> Mapping[str, str]:
    """Return the sources of a package, by path."""
    return {str(path.relative_to(package)): path.read_text() for path in sorted(package.rglob("*.py"))}
