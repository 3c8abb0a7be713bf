"""Reading of a list: one page, or the number of items and the start of each page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.http.paging import Page
from mlmgmt_nb.notebook.panels.workspace.kinds import Kind, matching

__all__ = ["ROWS", "Part", "Position", "Request", "Survey", "read", "survey"]

ROWS = 50
_READ_AT_ONCE, _MOST_READS = 1000, 20


class Position(NamedTuple):
    """The start of a page: a continuation token of the server, and a number of items to skip after it."""

    token: str | None = None
    offset: int = 0


class Request(NamedTuple):
    """A page to read."""

    kind: Kind
    filters: Mapping[str, str]
    search: str
    start: Position


class Part(NamedTuple):
    """The items read, the start of the next page (None after the last), and the number of items searched."""

    items: Sequence[Any]
    following: Position | None
    searched: int


class Survey(NamedTuple):
    """The number of items of a list (a lower bound unless `is_whole`), and the start of each page."""

    items: int
    starts: Sequence[Position]
    is_whole: bool


def read(ws: Workspace, request: Request, is_outdated: Callable[[], bool] = lambda: False) -> Part:
    """Read a page. The server filters, the client searches, in a bounded number of requests.

    Args:
        ws: the workspace.
        request: the page.
        is_outdated: returns whether the page is no longer needed.
    """
    position, found, searched = request.start, list[Any](), 0
    for _ in range(_MOST_READS):
        count = _READ_AT_ONCE if request.search else position.offset + ROWS
        page = request.kind.page(ws, request.filters, count, position.token)
        following = _following(page)
        for place, item in enumerate(page.value[position.offset :], start=position.offset + 1):
            searched += 1
            if request.search and not matching(request.kind, item, request.search):
                continue
            found.append(item)
            if len(found) == ROWS:
                is_last = place == len(page.value)
                return Part(found, following if is_last else Position(position.token, place), searched)
        if following is None or is_outdated():
            return Part(found, following, searched)
        position = following
    return Part(found, position, searched)


def _following(page: Page[Any]) -> Position | None:
    """Return the start of the page of the server after this one; None after the last."""
    return None if page.continuation_token is None else Position(page.continuation_token)


def survey(ws: Workspace, request: Request, is_outdated: Callable[[], bool] = lambda: False) -> Survey | None:
    """Count the items of a list, up to 20,000, and find the start of each page; None if it is no longer needed.

    Args:
        ws: the workspace.
        request: a page of the list.
        is_outdated: returns whether the list is no longer needed.
    """
    token, items, starts = None, 0, list[Position]()
    for _ in range(_MOST_READS):
        page = request.kind.page(ws, request.filters, _READ_AT_ONCE, token)
        if is_outdated():
            return None
        # A server may return fewer items than requested: a page of the panel may start in one read and end in the next.
        starts += [Position(token, place) for place in range(-items % ROWS, len(page.value), ROWS)]
        items += len(page.value)
        token = page.continuation_token
        if token is None:
            break
    return Survey(items, starts, token is None)
