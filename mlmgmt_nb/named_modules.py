"""The modules that source code and pickles name, found without running or loading them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import islice

__all__ = ["imported_modules", "pickle_texts"]


def imported_modules(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the full names of modules that import statements may import, such as `skops.io`. Some may not exist.

    Args:
        nodes: nodes of the syntax tree of source code. `from . import x` is left out: it names a part of the package.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")


def pickle_texts(content: bytes, most_opcodes: int | None = None) -> Iterator[tuple[str, str | None, str]]:
    """Yield the text of a pickle: the name of the opcode, the text directly before it or None, and the text.

    A `STACK_GLOBAL` yields the two texts before it again: they are the names of a module and of its class or function.

    Args:
        content: the pickle.
        most_opcodes: where to stop.

    Raises:
        ValueError: the content is not a pickle, or is only the beginning of one.
    """
    import pickletools  # not for every import of the client

    memo: dict[object, str | None] = {}  # by index
    before: str | None = None
    text: str | None = None
    for code, argument, _ in islice(pickletools.genops(content), most_opcodes):
        if code.name == "MEMOIZE":
            memo[len(memo)] = text
            continue
        if "PUT" in code.name:
            memo[argument] = text
            continue
        if code.name == "STACK_GLOBAL" and text is not None:
            yield code.name, before, text
        before, text = text, memo.get(argument) if "GET" in code.name else argument
        text = text if isinstance(text, str) else None
        if text is not None:
            yield code.name, before, text
