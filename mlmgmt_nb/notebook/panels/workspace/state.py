"""State of a `WorkspacePanel`: a list with its filters, search, order and page, and the selected resource."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, get_args

from mlmgmt_nb.notebook.display.card import Card
from mlmgmt_nb.notebook.display.cards import card_of
from mlmgmt_nb.notebook.display.html import escape, table
from mlmgmt_nb.notebook.panels.workspace.actions import ACTIONS, code_of
from mlmgmt_nb.notebook.panels.workspace.kinds import ARCHIVED, FIRST_FILTERS, KINDS, Column, ago, matching, shown
from mlmgmt_nb.notebook.panels.workspace.lineage import Lineage
from mlmgmt_nb.notebook.panels.workspace.reading import Part, Position, Request, Survey

__all__ = ["WorkspaceState"]

_PICTURE_ROWS = 20


@dataclass
class _List:
    """A tab. `starts` has the starts of pages up to the current one, and `survey` the starts of all pages if known."""

    filters: dict[str, str] = field(default_factory=dict)
    search: str = ""
    sort: tuple[str, bool] | None = None
    starts: list[Position] = field(default_factory=lambda: [Position()])
    part: Part | None = None
    survey: Survey | None = None
    hidden: set[str] = field(default_factory=set)


class WorkspaceState:
    """The state of a `WorkspacePanel`. Hold the lock of the panel to change it.

    Attributes:
        kind: the listed kind of resources.
        selected: the selected resource, of any kind, or None.
        lineage: the lineage of the selected resource, or None if it is not known yet.
        is_stale: whether the list must be read.
        answered: the number of frontend messages processed.
        opened: whether another panel is open below this one.
    """

    def __init__(self) -> None:
        self.kind = KINDS["models"]
        self.selected: Any = None
        self.selected_kind = ""
        self.lineage: Lineage | None = None
        self.is_stale = True
        self.answered = 0
        self.opened = False
        self._lists = {kind: _List() for kind in KINDS}

    # --- user actions ---------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Mark the page to be read again and the items to be counted again."""
        self._list.survey = None
        self.is_stale = True

    def choose(self, kind: str) -> None:
        """Switch to another tab, and mark its list to be read."""
        if kind in KINDS:
            self.kind = KINDS[kind]
            self.is_stale = True

    def filter(self, name: str, value: str) -> None:
        """Set a filter of the API. Empty text removes it."""
        if name not in {parameter.name for parameter in self.kind.filters}:
            return
        self._list.filters.pop(name, None)
        if value.strip():
            self._list.filters[name] = value.strip()
        self._from_the_start()

    def search(self, text: str) -> None:
        """Show only items that contain a text in any column."""
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

    def go_to(self, page: str) -> None:
        """Go to a page by its number."""
        known = self._list.survey
        if known is not None and page.isdecimal() and 1 <= int(page) <= len(known.starts):
            self._list.starts = list(known.starts[: int(page)])
            self.is_stale = True

    def toggle(self, column: str) -> None:
        """Hide a column, or show it again. The first column is always shown."""
        if column in {each.id for each in self.kind.columns[1:]}:
            self._list.hidden ^= {column}

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

    @property
    def is_uncounted(self) -> bool:
        """Whether the list has several pages and its items have not been counted."""
        there = self._list
        has_more = there.part is not None and (there.part.following is not None or len(there.starts) > 1)
        return has_more and there.survey is None and not there.search

    def accept_survey(self, request: Request, found: Survey | None) -> None:
        """Accept the count of a list, unless the request is outdated."""
        if found is not None and request[:3] == self.request()[:3]:
            self._list.survey = found

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
        """Return the number of items and the page, as text."""
        there = self._list
        if there.part is None:
            return "not loaded yet"
        count, page, known = len(there.part.items), len(there.starts), there.survey
        if known is not None:
            return self._counted(known, page)
        words = f"{count} {self.kind.id if count != 1 else self.kind.id[:-1]}"
        if there.search:
            words = f"page {page}: {words} with {there.search!r} among {there.part.searched:,} searched"
        elif page > 1 or there.part.following is not None:
            words = f"page {page}: {words}"
        if there.part.following is None:
            return f"{words}, the last page" if page > 1 or there.search else words
        return f"{words}, and more"

    def _counted(self, known: Survey, page: int) -> str:
        """Return the number of items of a list that was counted, and the page, as text."""
        items = f"{'' if known.is_whole else 'more than '}{known.items:,} {self.kind.id}"
        return f"{items}, page {page} of {len(known.starts):,}{'' if known.is_whole else ' and more'}"

    def empty(self) -> tuple[str, str]:
        """Return the reason why the list is empty, and the command that creates the first item; "" for neither."""
        there = self._list
        if there.part is None or there.part.items:
            return "", ""
        if there.filters or there.search or len(there.starts) > 1:
            return f"No {self.kind.id} here. Clear the filters and the search to see all.", ""
        return f"No {self.kind.id} yet. This makes the first:", self.kind.begin

    def shown(self, *, is_working: bool) -> dict[str, Any]:
        """Return the state for the frontend, as JSON types."""
        there = self._list
        selected_id = self.selected.id if self.selected is not None else None
        columns = self._columns()
        return {
            "answered": self.answered,
            "tabs": [{"id": kind.id, "title": kind.title} for kind in KINDS.values()],
            "tab": self.kind.id,
            "filters": [
                {
                    "name": parameter.name,
                    "help": parameter.description,
                    "value": there.filters.get(parameter.name, ""),
                    "choices": list(get_args(parameter.type)),
                    "first": parameter.name in FIRST_FILTERS,
                }
                for parameter in self.kind.filters
            ],
            "search": there.search,
            "columns": [
                {"id": column.id, "title": _title(column), "sorted": self._sorted(column)} for column in columns
            ],
            "choices": [
                {"id": column.id, "title": _title(column), "shown": column in columns}
                for column in self._possible()[1:]
            ],
            "rows": [{**self._row(item, columns), "selected": item.id == selected_id} for item in self.rows()],
            "states": [column.is_state for column in columns],
            "status": self.status(),
            "empty": self.empty(),
            "working": is_working,
            "page": len(there.starts),
            "pages": len(there.survey.starts) if there.survey else 0,
            "previous": len(there.starts) > 1,
            "next": there.part is not None and there.part.following is not None,
            "selected": self._details(),
            "opened": self.opened,
        }

    def text(self) -> str:
        """Return the list and the selection as text."""
        rows = [self._cells(item) for item in self.rows()]
        lines = _aligned([[column.title for column in self._possible()], *rows])[: 1 + _PICTURE_ROWS]
        more = [f"({len(rows) - _PICTURE_ROWS} more on this page)"] if len(rows) > _PICTURE_ROWS else []
        card = ["", self._card().text()] if self.selected is not None else []
        lineage = ["", self.lineage.text()] if self.lineage else []
        return "\n".join([self.status(), *(lines if rows else []), *more, *card, *lineage])

    def html(self) -> str:
        """Return the list and the selection as static HTML."""
        rows = self.rows()
        more = f"<p>{len(rows) - _PICTURE_ROWS} more on this page</p>" if len(rows) > _PICTURE_ROWS else ""
        listed = table(
            [column.title for column in self._possible()],
            [self._cells(item) for item in rows[:_PICTURE_ROWS]],
            label=self.kind.id,
            states={place for place, column in enumerate(self._possible()) if column.is_state},
        )
        card = self._card().html() if self.selected is not None else ""
        lineage = self.lineage.svg() if self.lineage else ""
        return f"<p><b>{escape(self.kind.title)}</b>, {escape(self.status())}</p>{listed}{more}{card}{lineage}"

    @property
    def _list(self) -> _List:
        return self._lists[self.kind.id]

    def _from_the_start(self) -> None:
        self._list.starts, self._list.survey = [Position()], None
        self.is_stale = True

    def _sorted(self, column: Column) -> str:
        """Return the `aria-sort` value of a column."""
        sort = self._list.sort
        if sort is None or sort[0] != column.id:
            return "none"
        return "descending" if sort[1] else "ascending"

    def _cells(self, item: Any) -> list[str]:
        return [shown(column.value(item)) for column in self._possible()]

    def _columns(self) -> list[Column]:
        return [column for column in self._possible() if column.id not in self._list.hidden]

    def _possible(self) -> list[Column]:
        """Return the columns that can be shown. The column `archived` needs the filter for archived versions."""
        has_archived = ARCHIVED.name in self._list.filters
        return [column for column in self.kind.columns if has_archived or column.id != ARCHIVED.name]

    def _row(self, item: Any, columns: list[Column]) -> dict[str, Any]:
        """Return a row for the frontend: cells with their text and exact text, and the match if no cell shows it."""
        now = dt.datetime.now(dt.UTC)
        cells = [_cell(column.value(item), now) for column in columns]
        match = matching(self.kind, item, self._list.search) if self._list.search else None
        is_seen = match is None or any(self._list.search.casefold() in text.casefold() for text, _ in cells)
        why = "" if match is None or is_seen else f"{match.title}: {shown(match.value(item))}"
        return {"id": item.id, "cells": cells, "why": why}

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
            "rows": [list(row) for row in card.lines()],
            "lineage": self.lineage.svg(interactive=True) if self.lineage else "",
            "actions": [
                [action.id, action.title]
                for action in ACTIONS.get(self.selected_kind, ())
                if action.applies(self.selected)
            ],
            "code": code_of(self.selected_kind, self.selected),
        }


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return each row as a line, with aligned columns."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _title(column: Column) -> str:
    """Return the title of a column without `(UTC)`, because its times are relative."""
    return column.title.removesuffix(" (UTC)")


def _cell(value: Any, now: dt.datetime) -> tuple[str, str]:
    """Return the text of a cell, in which times are relative, and its exact text."""
    exact = shown(value)
    return (ago(value, now), f"{exact} UTC") if isinstance(value, dt.datetime) else (exact, exact)


def _order(column: Column, item: Any) -> Any:
    """Return the sort key of an item: numbers and times as such, other values as case-insensitive text."""
    value = column.value(item)
    return shown(value).casefold() if isinstance(value, (str, list)) else value
