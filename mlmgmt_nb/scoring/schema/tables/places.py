"""The places of a problem that several rows or elements have, for messages that report it once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["elsewhere"]

_SHOWN = 3


def elsewhere(places: Sequence[int], total: int, path: Callable[[int], str] | None = None) -> str:
    """Return where else than at the first place a problem is: ` (in all 3 rows)`, ` (also in rows 4, 7, 9, …)`, or "".

    Args:
        places: the numbers of the rows, or of the elements, in order.
        total: the number of all rows or elements.
        path: returns the path of an element; None for rows.
    """
    others = places[1:]
    if not others:
        return ""
    if len(places) == total:
        return f" (in all {total} {'elements' if path else 'rows'})"
    shown = [path(place) if path else str(place) for place in others[:_SHOWN]]
    more = ["…"] if len(others) > _SHOWN else []
    where = "at" if path else "in row" if len(others) == 1 else "in rows"
    return f" (also {where} {', '.join([*shown, *more])})"
