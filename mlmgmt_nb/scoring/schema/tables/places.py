"""Problems that several rows or elements have: each is reported once, with its places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mlmgmt_nb.scoring.schema.types import MAX_PROBLEMS, describe

__all__ = ["distinct_problems", "elsewhere"]

_SHOWN = 3


def distinct_problems(
    values: Sequence[Any],
    find: Callable[[Any], Iterable[tuple[str, str]]],
    path: Callable[[int], str],
    *,
    are_rows: bool,
) -> list[str]:
    """Return each problem of objects once, with the places that have it.

    Args:
        values: the objects, and other values instead of them.
        find: returns the problems of a value: the member, such as `.age`, and a sentence. The member is "" if the value
            is not an object.
        path: returns the path of the value at a place.
        are_rows: whether messages give further places as numbers of rows instead of paths.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for place, value in enumerate(values):
        for problem in find(value):
            places.setdefault(problem, []).append(place)
        if len(places) >= MAX_PROBLEMS:
            break
    sentences = []
    for (member, words), found in places.items():
        got = "" if member else f"; got {describe(values[found[0]])}"
        others = elsewhere(found, len(values), None if are_rows else path)
        sentences.append(f"{path(found[0])}{member}: {words}{got}{others}")
    return sentences


def elsewhere(places: Sequence[int], total: int, path: Callable[[int], str] | None = None) -> str:
    """Return the places of a problem after the first: ` (in all 3 rows)`, ` (also in rows 4, 7, 9, …)`, or "".

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
