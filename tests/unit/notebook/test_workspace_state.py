"""What is browsed in a workspace, without a notebook and without a server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.client.http.paging import Page
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.contract import OPERATIONS, AsyncOperationStatus, Deployment, Model
from mlmgmt_nb.contract.archiving import QUERIES, ArchivableModel
from mlmgmt_nb.errors import NotFoundError, UnauthorizedError
from mlmgmt_nb.notebook.panels.workspace.actions import ACTIONS, code_of
from mlmgmt_nb.notebook.panels.workspace.kinds import FIRST_FILTERS, KINDS, ago
from mlmgmt_nb.notebook.panels.workspace.lineage import MOST, Lineage
from mlmgmt_nb.notebook.panels.workspace.reading import ROWS, Part, Position, Request, read, survey
from mlmgmt_nb.notebook.panels.workspace.state import WorkspaceState


def model(number: int, **more: Any) -> Model:
    given: dict[str, Any] = {"id": f"id-{number}", "name": f"m{number}", "version": 1, **more}
    return Model(mime_type="a/b", url="http://x", **given)


class Listed:
    """A list of the server's, in pages of at most `most`."""

    def __init__(self, items: Sequence[Any], most: int = 1000) -> None:
        self.items, self.most, self.asked = items, most, list[dict[str, Any]]()

    def list(self, count: int = 1000, **filters: Any) -> Listed:
        self.asked.append(filters)
        self.count = min(count, self.most)
        return self

    def by_page(self, token: str | None) -> Iterator[Page[Any]]:
        first = int(token or 0)
        last = first + self.count
        yield Page(self.items[first:last], str(last) if last < len(self.items) else None)


class Account:
    """A workspace with models only."""

    def __init__(self, items: Sequence[Any], most: int = 1000) -> None:
        self.models = Listed(items, most)


def browse(ws: Any, state: WorkspaceState) -> Part:
    request = state.request()
    part = read(ws, request)
    assert state.accept(request, part)
    return part


@given(count=st.integers(0, 400), most=st.integers(1, 120), search=st.sampled_from(["", "m1", "7", "nothing"]))
def test_turning_pages_meets_every_item_once(count: int, most: int, search: str) -> None:
    ws: Any = Account([model(number) for number in range(count)], most)
    state, met = WorkspaceState(), list[str]()
    state.search(search)
    while True:
        part = browse(ws, state)
        assert len(part.items) <= ROWS
        met += [item.id for item in part.items]
        if part.following is None:
            break
        state.turn_pages(1)
    assert met == [item.id for item in ws.models.items if not search or search in item.name]
    while len(state.shown(is_working=False)["rows"]) < len(met) and state.shown(is_working=False)["previous"]:
        state.turn_pages(-1)
        browse(ws, state)
    assert [item.id for item in state.rows()] == met[: len(state.rows())]


def test_a_search_does_not_go_on_for_ever() -> None:
    ws: Any = Account([model(number) for number in range(50_000)])
    part = read(ws, Request(KINDS["models"], {}, "nothing", Position()))
    assert part == Part([], Position("20000"), 20_000)
    assert read(ws, Request(KINDS["models"], {}, "nothing", Position()), lambda: True).searched == 1000


def test_filters_are_those_of_the_api() -> None:
    for kind in KINDS.values():
        operation = OPERATIONS.get(f"{kind.id}_list")
        names = {p.name for p in operation.query} - {"count", "$skipToken"} if operation else set()
        extensions = {parameter.name for parameter in QUERIES.get(f"{kind.id}_list", ())}
        assert {parameter.name for parameter in kind.filters} == names | extensions
    ws: Any = Account([])
    state = WorkspaceState()
    state.filter("tag", " prod ")
    state.filter("serviceName", "not of models")
    browse(ws, state)
    assert ws.models.asked == [{"tag": "prod"}]
    state.filter("tag", "")
    browse(ws, state)
    assert ws.models.asked[-1] == {}


def test_order_goes_up_down_and_back_and_what_is_missing_is_last() -> None:
    ws: Any = Account([model(1, version=2), model(2, version=None), model(3, version=10), model(4, version=1)])
    state = WorkspaceState()
    browse(ws, state)

    def versions() -> list[Any]:
        return [item.version for item in state.rows()]

    state.sort("version")
    assert versions() == [1, 2, 10, None]
    assert next(c for c in state.shown(is_working=False)["columns"] if c["id"] == "version")["sorted"] == "ascending"
    state.sort("version")
    assert versions() == [10, 2, 1, None]
    state.sort("version")
    assert versions() == [2, None, 10, 1]
    state.sort("no-such-column")
    assert versions() == [2, None, 10, 1]


def test_the_selected_one_is_kept_up_to_date_and_kept() -> None:
    state = WorkspaceState()
    browse(Account([model(1), model(2)]), state)
    assert not state.select("nothing")
    assert state.select("id-2")
    state.lineage = Lineage("id-2")
    assert not state.select("id-2")
    assert state.lineage is not None
    state.refresh()
    browse(Account([model(2, description="new")]), state)
    assert state.selected.description == "new"
    state.refresh()
    browse(Account([model(1)]), state)
    assert state.selected.id == "id-2"
    state.select("id-1")
    assert state.lineage is None


def test_what_comes_too_late_is_dropped() -> None:
    state = WorkspaceState()
    request = state.request()
    state.search("other")
    assert not state.accept(request, Part([model(1)], None, 1))
    assert state.status() == "not loaded yet"
    assert state.is_stale
    state.turn_pages(1)
    state.turn_pages(-1)
    assert state.request().start == Position()
    state.choose("no such kind")
    assert state.kind.id == "models"


@given(count=st.integers(0, 400), most=st.integers(3, 120), page=st.integers(1, 9))
def test_a_counted_list_has_numbered_pages(count: int, most: int, page: int) -> None:
    ws: Any = Account([model(number) for number in range(count)], most)
    state = WorkspaceState()
    browse(ws, state)
    assert state.is_uncounted == (count > ROWS)
    found = survey(ws, state.request())
    assert found is not None
    assert (found.items, len(found.starts)) == (min(count, 20 * most), -(-min(count, 20 * most) // ROWS))
    state.accept_survey(state.request(), found)
    state.go_to(str(page))
    part = browse(ws, state)
    first = (page - 1) * ROWS if page <= len(found.starts) else 0
    assert [item.id for item in part.items] == [f"id-{n}" for n in range(first, min(first + ROWS, count))]
    if found.is_whole:
        current = page if page <= len(found.starts) else 1
        assert state.status() == f"{count:,} models, page {current} of {len(found.starts)}"
    state.search("m1")
    assert state.shown(is_working=False)["pages"] == 0
    assert not state.is_uncounted


def test_a_count_of_another_list_is_dropped() -> None:
    ws: Any = Account([model(number) for number in range(60)])
    state = WorkspaceState()
    browse(ws, state)
    before = state.request()
    state.filter("tag", "x")
    state.accept_survey(before, survey(ws, before))
    assert state.shown(is_working=False)["pages"] == 0
    assert survey(ws, before, lambda: True) is None
    state.go_to("2")
    state.go_to("x")
    assert state.request().start == Position()


def test_a_row_shows_why_it_was_found_and_how_old_it_is() -> None:
    now = dt.datetime.now(dt.UTC)
    ws: Any = Account([model(1, description="The Winner", created_at=now - dt.timedelta(minutes=5, seconds=3))])
    state = WorkspaceState()
    state.search("winner")
    browse(ws, state)
    row = state.shown(is_working=False)["rows"][0]
    assert row["why"] == "", "it is in sight"
    assert row["cells"][3] == ("5 min ago", f"{now - dt.timedelta(minutes=5, seconds=3):%Y-%m-%d %H:%M:%S} UTC")
    state.toggle("description")
    state.toggle("no-such-column")
    state.toggle("name")
    shown = state.shown(is_working=False)
    assert [column["id"] for column in shown["columns"]] == ["name", "version", "tags", "created_at", "id"]
    assert shown["rows"][0]["why"] == "description: The Winner"
    assert [choice["id"] for choice in shown["choices"] if not choice["shown"]] == ["description"]
    state.toggle("description")
    assert len(state.shown(is_working=False)["columns"]) == 6


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "just now"), (59, "just now"), (60, "1 min ago"), (7200, "2 h ago"), (3 * 86400, "3 d ago")],
)
def test_times_are_relative(seconds: int, said: str) -> None:
    now = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    assert ago(now - dt.timedelta(seconds=seconds), now) == said
    assert ago(dt.datetime(2026, 1, 2), now) == "2026-01-02"  # noqa: DTZ001 - as servers may send it


def test_few_filters_are_in_sight_and_each_selection_has_actions() -> None:
    for kind in KINDS.values():
        assert sum(parameter.name in FIRST_FILTERS for parameter in kind.filters) <= 3, "beside the search"
        assert code_of(kind.id, model(7)) == f'ws.{kind.id}.get("id-7")'
    assert [action.id for action in ACTIONS["services"]] == ["console", "try", "log", "test", "delete"]
    state = WorkspaceState()
    browse(Account([model(1)]), state)
    state.select("id-1")
    selected = state.shown(is_working=False)["selected"]
    assert (selected["actions"], selected["code"]) == (
        [["deploy", "Deploy"], ["archive", "Archive"]],
        'ws.models.get("id-1")',
    )


def test_archived_versions_are_shown_on_request() -> None:
    ws: Any = Account([ArchivableModel(**msgspec.structs.asdict(model(1)), archived=True)])
    state = WorkspaceState()
    browse(ws, state)
    assert "archived" not in [column["id"] for column in state.shown(is_working=False)["columns"]]
    state.filter("archived", "shown")
    browse(ws, state)
    assert ws.models.asked == [{}, {"include_archived": True}]
    shown = state.shown(is_working=False)
    place = [column["id"] for column in shown["columns"]].index("archived")
    assert shown["rows"][0]["cells"][place] == ("archived", "archived")
    assert "archived" in state.text().splitlines()[1]
    state.select("id-1")
    selected = state.shown(is_working=False)["selected"]
    assert (selected["state"], selected["actions"][-1]) == ("archived", ["unarchive", "Unarchive"])


def test_an_empty_list_says_how_to_begin() -> None:
    state = WorkspaceState()
    assert state.empty() == ("", ""), "not read yet"
    browse(Account([]), state)
    for kind in KINDS.values():
        assert any(kind.begin.startswith(f"%mlmgmt {command.name}") for command in COMMANDS)
    assert state.empty() == ("No models yet. This makes the first:", KINDS["models"].begin)
    state.search("x")
    browse(Account([]), state)
    assert state.empty()[0].startswith("No models here. Clear the filters")
    browse(Account([model(1, name="x")]), state)
    assert state.shown(is_working=False)["empty"] == ("", "")


def test_pictures_are_escaped_and_bounded() -> None:
    state = WorkspaceState()
    browse(Account([model(number, description="<b>&") for number in range(60)]), state)
    state.select("id-3")
    state.lineage = Lineage("id-3")
    state.lineage.add("models", model(3, name='<script>"x"'))
    markup = state.html()
    assert "<b>&<" not in markup
    assert "<script" not in markup
    assert "&lt;b&gt;&amp;" in markup
    assert markup.count("id-") == 20 + 1
    assert "30 more on this page" in markup
    assert state.status() == "page 1: 50 models, and more"
    text = state.text().splitlines()
    assert text[1].split() == ["name", "version", "tags", "created", "(UTC)", "description", "id"]
    assert "(30 more on this page)" in text
    assert text[-5:] == ['models: <script>"x" 1', *(f"{kind}: none" for kind in list(KINDS)[1:5])]


class Operations(Listed):
    """Operations of a server that may have no list of them."""

    def __init__(self, error: Exception) -> None:
        super().__init__([])
        self.known = ["op-3", "gone", "op-1"]
        self.error = error

    def by_page(self, token: str | None) -> Iterator[Page[Any]]:
        raise self.error
        yield

    def get(self, id: str) -> AsyncOperationStatus:  # noqa: A002
        if id == "gone":
            raise NotFoundError("gone", status_code=404)
        return AsyncOperationStatus(id=id, operation_type="Image", state="Succeeded")


def test_operations_of_a_server_of_2017_are_those_of_this_session() -> None:
    state, ws = WorkspaceState(), type("Account", (), {})()
    state.choose("operations")
    ws.operations = Operations(NotFoundError("no such path", status_code=404))
    assert [item.id for item in browse(ws, state).items] == ["op-3", "op-1"]
    ws.operations = Operations(UnauthorizedError("no", status_code=401))
    with pytest.raises(UnauthorizedError):
        read(ws, state.request())


def test_a_graph_has_room_for_so_many() -> None:
    graph = Lineage("id-0")
    first = model(0)
    graph.add("models", first)
    added = [
        graph.add(
            "deployments", Deployment(id=f"d-{n}", created_at=dt.datetime(2026, 1, 1, 1, 1, n, tzinfo=dt.UTC)), of=first
        )
        for n in range(MOST + 3)
    ]
    assert added == [True] * MOST + [False] * 3
    assert "deployments: 01-01 01:01:00" in graph.text()
    assert graph.text().endswith(", more")
    picture = graph.svg()
    assert "deployments, and more" in picture
    assert 'role="img"' in picture
    assert "tabindex" not in picture
    buttons = graph.svg(interactive=True)
    assert buttons.count('role="button"') == MOST + 1
    assert 'aria-label="model m0 1"' in buttons
