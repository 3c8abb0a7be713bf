"""Lists in pages: every item once, however they are split; tokens that resume; links that leave the server refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlmgmt_nb import errors
from mlmgmt_nb.client import Pager
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.contract import API_VERSION, Deployment, Model
from tests.unit.client.conftest import Answer, Seen, Server


def model(number: int, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "name": f"m{number}", "mimeType": "a/b", "url": "http://x/m", **more}


def in_pages(server: Server, sizes: list[int]) -> None:
    """Lets the server give models 0, 1, 2, ... in pages of these sizes."""

    def script(seen: Seen) -> Answer:
        page = int(seen.query.get("$skipToken", 0))
        first = sum(sizes[:page])
        body: dict[str, Any] = {"value": [model(first + n) for n in range(sizes[page])]}
        if page + 1 < len(sizes):
            body["nextLink"] = f"{server.base_url}/models?api-version={API_VERSION}&tag=prod&$skipToken={page + 1}"
        return Answer(200, body)

    server.script = script
    server.seen.clear()


def pager(transport: Transport, count: int = 1000) -> Pager[Model]:
    return Pager(transport, "models_list", Model, {"tag": "prod", "name": None}, count)


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=8), resume=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_any_split_gives_every_item_once_and_can_be_resumed(
    server: Server, transport: Transport, sizes: list[int], resume: int
) -> None:
    in_pages(server, sizes)
    expected = [str(number) for number in range(sum(sizes))]
    assert [item.id for item in pager(transport)] == expected
    assert len(server.seen) == len(sizes)
    pages = list(pager(transport).by_page())
    assert [len(page.value) for page in pages] == sizes
    assert [page.continuation_token is None for page in pages] == [False] * (len(sizes) - 1) + [True]
    token = pages[resume % len(pages)].continuation_token
    if token is not None:
        rest = [item.id for page in pager(transport).by_page(token) for item in page.value]
        assert rest == expected[sum(sizes[: resume % len(pages) + 1]) :]


def test_pages_are_fetched_when_needed(server: Server, transport: Transport) -> None:
    in_pages(server, [2, 2, 2])
    items = pager(transport, count=2)
    assert server.seen == []
    assert next(iter(items)).id == "0"
    assert [seen.query for seen in server.seen] == [{"api-version": API_VERSION, "tag": "prod", "count": "2"}]


@pytest.mark.parametrize(
    "link",
    [
        "http://evil.example/models?$skipToken=1",
        "http://127.0.0.1:1/models?$skipToken=1",
        "https://{host}/models?$skipToken=1",
        "http://{host}@evil.example/models?$skipToken=1",
        "//evil.example/models?$skipToken=1",
        "{base}/models",
        "{base}/manifests?$skipToken=1",
        "no link",
    ],
)
def test_links_elsewhere_are_not_followed(server: Server, transport: Transport, link: str) -> None:
    host = server.origin.removeprefix("http://")
    server.script = lambda _: Answer(200, {"value": [], "nextLink": link.format(host=host, base=server.base_url)})
    with pytest.raises(errors.ServerError, match="is not on this server"):
        list(pager(transport))
    assert len(server.seen) == 1


def test_circle_ends(server: Server, transport: Transport) -> None:
    link = f"{server.base_url}/models?$skipToken=1"
    server.script = lambda _: Answer(200, {"value": [model(1)], "nextLink": link})
    with pytest.raises(errors.ServerError, match="leads back to the same page"):
        list(pager(transport))
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    "token", ["", "x", "/manifests?$skipToken=1", "@evil.example/", "http://evil.example/models?x"]
)
def test_foreign_tokens_are_refused(server: Server, transport: Transport, token: str) -> None:
    with pytest.raises(errors.UsageError, match="is not one of /models"):
        list(pager(transport).by_page(token))
    assert server.seen == []


def test_page_size_of_nothing(transport: Transport) -> None:
    with pytest.raises(errors.UsageError, match="count is 0"):
        pager(transport, count=0)


def test_list_without_pages(server: Server, transport: Transport) -> None:
    server.answers(Answer(200, [{"id": "d1"}, {"id": "d2"}]))
    items = Pager(transport, "deployments_list", Deployment, {"serviceId": "s"}, count=None)
    assert [item.id for item in items] == ["d1", "d2"]
    assert server.seen[0].query == {"api-version": API_VERSION, "serviceId": "s"}


def test_repr_shows_the_filters(transport: Transport) -> None:
    assert repr(pager(transport)) == "<Pager of /models tag='prod'>"
