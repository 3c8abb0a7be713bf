"""State of a `WorkspacePanel`: a list with its filters, search, order and page, and the selected resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.notebook.display.card import Card
from mlmgmt_nb.notebook.display.cards import card_of
from mlmgmt_nb.notebook.display.html import escape, table
from mlmgmt_nb.notebook.panels.workspace.kinds import KINDS, Column, Kind, shown
from mlmgmt_nb.notebook.panels.workspace.lineage import Lineage

__all__ = ["Part", "Position", "Request", "WorkspaceState", "read"]

ROWS = 50
_SEARCHED_AT_ONCE, _PAGES_A_SEARCH = 1000, 20
_PICTURE_ROWS = 20


class Position(NamedTuple):
    """The start of a page: a number of items after the position of a server token."""

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


def read(ws: Workspace, request: Request, is_outdated: Callable[[], bool] = lambda: False) -> Part:
    """Read a page. The server filters; the search is done here, in a bounded number of pages.

    Args:
        is_outdated: returns whether the page is no longer needed.
    """
    position, found, searched = request.start, [], 0
    count = _SEARCHED_AT_ONCE if request.search else ROWS
    wanted = request.search.casefold()
    for _ in range(_PAGES_A_SEARCH):
        page = request.kind.page(ws, request.filters, count, position.token)
        following = None if page.continuation_token is None else Position(page.continuation_token)
        for place, item in enumerate(page.value[position.offset :], start=position.offset + 1):
            searched += 1
            if wanted and not _matches(request.kind, item, wanted):
                continue
            found.append(item)
            if len(found) == ROWS:
                is_last = place == len(page.value)
                return Part(found, following if is_last else Position(position.token, place), searched)
        if following is None or is_outdated():
            return Part(found, following, searched)
        position = following
    return Part(found, position, searched)


def _matches(kind: Kind, item: Any, wanted: str) -> bool:
    return any(wanted in shown(column.value(item)).casefold() for column in kind.columns)


@dataclass
class _List:
    """A tab. `starts` has the starts of the pages up to the current one."""

    filters: dict[str, str] = field(default_factory=dict)
    search: str = ""
    sort: tuple[str, bool] | None = None
    starts: list[Position] = field(default_factory=lambda: [Position()])
    part: Part | None = None


class WorkspaceState:
    """The state of a `WorkspacePanel`. Hold the lock of the panel to change it.

    Attributes:
        kind: the listed kind of resources.
        selected: the selected resource, of any kind, or None.
        lineage: the lineage of the selected resource, once it is known.
        is_stale: whether the list must be read.
        answered: the number of front-end messages processed.
    """

    def __init__(self) -> None:
        self.kind = KINDS["models"]
        self.selected: Any = None
        self.selected_kind = ""
        self.lineage: Lineage | None = None
        self.is_stale = True
        self.answered = 0
        self._lists = {kind: _List() for kind in KINDS}

    # --- user actions ---------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Mark the page to be read again."""
        self.is_stale = True

    def choose(self, kind: str) -> None:
        """Switch to another tab, and mark it to be read."""
        if kind in KINDS:
            self.kind = KINDS[kind]
            self.is_stale = True

    def filter(self, name: str, value: str) -> None:
        """Set a filter of the API; empty text removes it."""
        if name not in {parameter.name for parameter in self.kind.filters}:
            return
        self._list.filters.pop(name, None)
        if value.strip():
            self._list.filters[name] = value.strip()
        self._from_the_start()

    def search(self, text: str) -> None:
        """Show only items with a text in any column."""
        self._list.search = text.strip()
        self._from_the_start()

    def sort(self, column: str) -> None:
        """Sort the page by a column: ascending, then descending, then in the order of the server (newest first)."""
        if column in {each.id for each in self.kind.columns}:
            before = self._list.sort
            after = {None: (column, False), (column, False): (column, True), (column, True): None}
            self._list.sort = after.get(before, (column, False))

    def turn_pages(self, pages: int) -> None:
        """Go to the next page (1) or the previous one (-1)."""
        there = self._list
        if pages > 0 and there.part is not None and there.part.following is not None:
            there.starts.append(there.part.following)
        elif pages < 0 and len(there.starts) > 1:
            there.starts.pop()
        else:
            return
        self.is_stale = True

    def select(self, id: str) -> bool:  # noqa: A002 - the API's word
        """Select an item of the page. Return whether the selection changed."""
        found = next((item for item in self.rows() if item.id == id), None)
        return found is not None and self.take(self.kind.id, found)

    def take(self, kind: str, resource: Any) -> bool:
        """Select a resource. Return whether the selection changed."""
        is_other = self.selected is None or self.selected.id != resource.id
        self.selected, self.selected_kind = resource, kind
        if is_other:
            self.lineage = None
        return is_other

    # --- reading ---------------------------------------------------------------------------------------------

    def request(self) -> Request:
        """Return the page to read for the current list."""
        there = self._list
        return Request(self.kind, dict(there.filters), there.search, there.starts[-1])

    def accept(self, request: Request, part: Part) -> bool:
        """Accept what was read, unless the request is outdated. Return whether it was accepted."""
        if request != self.request():
            return False
        self._list.part = part
        self.is_stale = False
        if self.selected is not None and self.selected_kind == self.kind.id:
            self.selected = next((item for item in part.items if item.id == self.selected.id), self.selected)
        return True

    def rows(self) -> list[Any]:
        """Return the items of the page in display order."""
        there = self._list
        items = list(there.part.items) if there.part else []
        if there.sort is None:
            return items
        column = next(each for each in self.kind.columns if each.id == there.sort[0])
        with_value = [item for item in items if column.value(item) is not None]
        without = [item for item in items if column.value(item) is None]
        return [*sorted(with_value, key=lambda item: _order(column, item), reverse=there.sort[1]), *without]

    # --- display --------------------------------------------------------------------------------------------

    def status(self) -> str:
        """Return the number of items in words."""
        there = self._list
        if there.part is None:
            return "not loaded yet"
        count, page = len(there.part.items), len(there.starts)
        words = f"page {page}: {count} {self.kind.id if count != 1 else self.kind.id[:-1]}"
        if there.search:
            words += f" with {there.search!r} among {there.part.searched:,} searched"
        if there.part.following is None:
            return f"{words}, the last page" if page > 1 or there.search else words
        return f"{words}, and more"

    def shown(self, *, is_working: bool) -> dict[str, Any]:
        """Return the state for the frontend, as JSON types."""
        there = self._list
        selected_id = self.selected.id if self.selected is not None else None
        return {
            "answered": self.answered,
            "tabs": [{"id": kind.id, "title": kind.title} for kind in KINDS.values()],
            "tab": self.kind.id,
            "filters": [
                {
                    "name": parameter.name,
                    "help": parameter.description,
                    "value": there.filters.get(parameter.name, ""),
                }
                for parameter in self.kind.filters
            ],
            "search": there.search,
            "columns": [
                {"id": column.id, "title": column.title, "sorted": self._sorted(column)} for column in self.kind.columns
            ],
            "rows": [
                {"id": item.id, "cells": self._cells(item), "selected": item.id == selected_id} for item in self.rows()
            ],
            "states": [column.is_state for column in self.kind.columns],
            "status": self.status(),
            "working": is_working,
            "previous": len(there.starts) > 1,
            "next": there.part is not None and there.part.following is not None,
            "selected": self._details(),
        }

    def text(self) -> str:
        """Return the list and the selection as text."""
        rows = [self._cells(item) for item in self.rows()]
        titles = [column.title for column in self.kind.columns]
        widths = [max(len(line[place]) for line in [titles, *rows]) for place in range(len(titles))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in [titles, *rows[:_PICTURE_ROWS]]
        ]
        more = [f"({len(rows) - _PICTURE_ROWS} more on this page)"] if len(rows) > _PICTURE_ROWS else []
        card = ["", self._card().text(ages=False)] if self.selected is not None else []
        lineage = ["", self.lineage.text()] if self.lineage else []
        return "\n".join([self.status(), *(lines if rows else []), *more, *card, *lineage])

    def html(self) -> str:
        """Return the list and the selection as static HTML."""
        rows = self.rows()
        more = f"<p>{len(rows) - _PICTURE_ROWS} more on this page</p>" if len(rows) > _PICTURE_ROWS else ""
        listed = table(
            [column.title for column in self.kind.columns],
            [self._cells(item) for item in rows[:_PICTURE_ROWS]],
            label=self.kind.id,
            states={place for place, column in enumerate(self.kind.columns) if column.is_state},
        )
        card = self._card().html(ages=False) if self.selected is not None else ""
        lineage = self.lineage.svg() if self.lineage else ""
        return f"<p><b>{escape(self.kind.title)}</b>, {escape(self.status())}</p>{listed}{more}{card}{lineage}"

    @property
    def _list(self) -> _List:
        return self._lists[self.kind.id]

    def _from_the_start(self) -> None:
        self._list.starts = [Position()]
        self.is_stale = True

    def _sorted(self, column: Column) -> str:
        """Return the `aria-sort` value of a column."""
        sort = self._list.sort
        if sort is None or sort[0] != column.id:
            return "none"
        return "descending" if sort[1] else "ascending"

    def _cells(self, item: Any) -> list[str]:
        return [shown(column.value(item)) for column in self.kind.columns]

    def _card(self) -> Card:
        return card_of(self.selected)

    def _details(self) -> dict[str, Any] | None:
        if self.selected is None:
            return None
        card = self._card()
        return {
            "id": self.selected.id,
            "title": f"{card.kind} {card.name}",
            "state": card.state or "",
            "rows": [list(row) for row in card.lines(ages=False)],
            "lineage": self.lineage.svg(interactive=True) if self.lineage else "",
        }


def _order(column: Column, item: Any) -> Any:
    """Return the sort key of an item: numbers and times as such, other values as case-insensitive text."""
    value = column.value(item)
    return shown(value).casefold() if isinstance(value, (str, list)) else value
