"""Attributes of other packages' `Workspace`: the error names the replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlmgmt_nb.other_tools import advice_for_attribute

__all__ = ["NamesReplacements", "no_attribute"]


class NamesReplacements(type):
    """Raise an error that names the replacement for attributes of other packages' `Workspace`."""

    if not TYPE_CHECKING:  # type checkers would accept any name

        def __getattr__(cls, name: str) -> Any:
            raise no_attribute(cls.__name__, name)


def no_attribute(owner: str, name: str) -> AttributeError:
    moved = None if name.startswith("_") else advice_for_attribute(name)
    if moved is None:
        return AttributeError(f"{owner!r} has no attribute {name!r}", name=name)
    return AttributeError(f"{moved.problem}. {moved.fix}", name=name)
