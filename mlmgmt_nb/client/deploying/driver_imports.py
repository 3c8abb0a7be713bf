"""The modules that a driver is going to import, found without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlmgmt_nb.client.applications.application import Application
from mlmgmt_nb.client.http.files import as_source, is_url
from mlmgmt_nb.named_modules import imported_modules, pickle_texts

__all__ = ["pickled_modules", "preloadable_modules"]

_PICKLE = b"\x80"
"""The first byte of pickles since protocol 2."""
_MOST_BYTES = 2**20
_MOST_OPCODES = 20_000
"""How much of a pickle is read: classes come before the data of their objects."""
_FRAMEWORKS = frozenset(
    {"catboost", "joblib", "lightgbm", "numpy", "pandas", "scipy", "sklearn", "statsmodels", "torch", "xgboost"}
)
"""Packages that models may name. Others may change what the driver does, if they are imported before its own code."""
_CONFIGURING = frozenset({"environ", "environb", "load_dotenv", "putenv", "sys", "unsetenv"})
"""Names in a driver that may change what a package does when it is imported."""


def preloadable_modules(application: Application, models: Iterable[Any]) -> list[str]:
    """Return the modules of packages that a driver imports first, in its order, then those of its pickled models.

    Only the imports at the beginning of the driver count: code after them may change what a later import does. If the
    driver changes environment variables or imports files of its own, modules of models do not count either. The list
    is empty if the driver needs an environment of its own.

    Args:
        application: the driver and its files.
        models: the sources of its models; those that are not local files are ignored.
    """
    tree = _parsed(application)
    if tree is None:
        return []
    own = {place.partition("/")[0].partition(".")[0] for _, place, _ in application.files()}
    names = [*_leading_imports(tree.body, own)]
    if not _CONFIGURING & set(_identifiers(tree)) and own.isdisjoint(_roots(imported_modules(ast.walk(tree)))):
        names += _framework_modules(models)
    left_out = own | sys.stdlib_module_names | {"__main__"}
    return [name for name in dict.fromkeys(names) if name.partition(".")[0] not in left_out and name.isascii()]


def _parsed(application: Application) -> ast.Module | None:
    """Return the syntax tree of a driver that runs in the Python of this kernel; None for others."""
    driver = as_source(application.driver, "driver")
    if is_url(driver) or application.runtime != "python" or application.requested() != []:
        return None
    try:
        return ast.parse(Path(driver).expanduser().read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _framework_modules(models: Iterable[Any]) -> Iterator[str]:
    for model in models:
        if isinstance(model, str):
            yield from filter(_is_of_framework, pickled_modules(model))


def _is_of_framework(text: str) -> bool:
    """Return whether text from a pickle is the name of a module of a known framework, and not a program."""
    parts = text.split(".")
    return parts[0] in _FRAMEWORKS and "__main__" not in parts and all(map(str.isidentifier, parts))


def _leading_imports(statements: Iterable[ast.stmt], own: set[str]) -> Iterator[str]:
    """Yield the modules of the imports at the beginning of a driver, up to the first of its own files."""
    for statement in statements:
        names = [*imported_modules([statement])]
        is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not (names or is_docstring) or not own.isdisjoint(_roots(names)):
            return
        yield from names


def _roots(names: Iterable[str]) -> Iterator[str]:
    return (name.partition(".")[0] for name in names)


def _identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.partition(".")[0]


def pickled_modules(path: str) -> Iterator[str]:
    """Yield the modules of classes and functions at the beginning of a pickle. Nothing of it is loaded.

    Args:
        path: a file; one that is not a pickle has none.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(_MOST_BYTES) if file.read(1) == _PICKLE else b""
    except OSError:
        return
    if content:
        yield from _globals(_PICKLE + content)


def _globals(content: bytes) -> Iterator[str]:
    """Yield the modules of globals, up to the end of the content or to what is not a pickle, such as an array."""
    try:
        for code, before, text in pickle_texts(content, _MOST_OPCODES):
            if code == "GLOBAL":
                yield text.rpartition(" ")[0]
            elif code == "STACK_GLOBAL" and before is not None:
                yield before
    except ValueError:
        return
