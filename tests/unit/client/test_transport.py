"""Retries, request ids, credentials, and the errors that failed answers turn into."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlmgmt_nb import errors
from mlmgmt_nb.client.http.credentials import AZURE_SCOPE, AzureToken, StaticToken, TokenFile
from mlmgmt_nb.client.http.encoding import encoded
from mlmgmt_nb.client.http.responses import decode, retry_after
from mlmgmt_nb.client.http.transport import Location, Transport, is_loopback, origin
from mlmgmt_nb.contract import API_VERSION, OPERATIONS, Model
from mlmgmt_nb.contract.extensions import ServiceUpdate
from mlmgmt_nb.contract.traffic import CanaryRequest, CanaryStep
from tests.unit.client.conftest import Answer, Pauses, Seen, Server

OK = Answer(200, {})
NO_CREDENTIAL = StaticToken(None, "nowhere")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def test_request_carries_version_token_and_id(server: Server, transport: Transport) -> None:
    server.answers(OK)
    transport.call("models_get", id="a/b")
    seen = server.seen[0]
    assert (seen.method, seen.path) == ("GET", "/models/a%2Fb")
    assert seen.query == {"api-version": API_VERSION}
    assert seen.headers["Authorization"] == "Bearer secret"
    assert len(seen.headers["x-ms-client-request-id"]) == 36


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
@pytest.mark.parametrize("operation_id", ["models_get", "services_delete", "services_update"])
def test_safe_requests_are_repeated(
    server: Server, transport: Transport, pauses: Pauses, status: int, operation_id: str
) -> None:
    server.answers(Answer(status), Answer(status), OK)
    transport.call(operation_id, id="x")
    assert len(server.seen) == 3
    assert len({seen.headers["x-ms-client-request-id"] for seen in server.seen}) == 1
    assert pauses.made == [0.2, 0.4]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_post_is_not_repeated_when_it_may_have_acted(server: Server, transport: Transport, status: int) -> None:
    server.answers(Answer(status))
    with pytest.raises(errors.ApiError):
        transport.call("models_register", body={})
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_post_is_repeated_when_the_server_did_not_act(
    server: Server, transport: Transport, pauses: Pauses, status: int
) -> None:
    server.answers(Answer(status, headers={"Retry-After": "7"}), OK)
    transport.call("models_register", body={"name": "iris", "tags": None})
    assert [seen.json for seen in server.seen] == [{"name": "iris"}] * 2
    assert pauses.made == [7.0]


def test_long_retry_after_is_left_to_the_user(server: Server, transport: Transport, pauses: Pauses) -> None:
    server.answers(Answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(errors.ThrottledError, match=r"Try again in 3600 s") as caught:
        transport.call("models_list")
    assert caught.value.retry_after == 3600
    assert pauses.made == []


def test_retry_after_may_be_a_date(server: Server, transport: Transport, pauses: Pauses) -> None:
    server.answers(Answer(503, headers={"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}), OK)
    transport.call("models_list")
    assert pauses.made == [0.0]


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("9" * 99, 86_400.0), ("inf", None), ("-1", None), ("soon", None), ("", None)]
)
def test_retry_after_of_any_kind(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds


def test_broken_connection(server: Server, transport: Transport) -> None:
    server.answers(Answer(broken=True), OK)
    transport.call("models_list")
    server.answers(Answer(broken=True))
    with pytest.raises(errors.TransportError, match=r"the connection broke during POST .*/models") as caught:
        transport.call("models_register", body={})
    assert type(caught.value) is errors.TransportError
    assert caught.value.request_id


def test_no_connection_names_the_fix(pauses: Pauses) -> None:
    base_url = f"http://127.0.0.1:{free_port()}/accounts/x"
    transport = Transport(Location(base_url, NO_CREDENTIAL), sleep=pauses.sleep, clock=pauses.clock)
    with pytest.raises(errors.ConnectError, match=r"(?s)no connection to .*/models.*mlmgmt serve"):
        transport.call("models_register", body={})
    assert len(pauses.made) == 4


def test_slow_answer(server: Server, pauses: Pauses) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base_url = f"http://127.0.0.1:{silent.getsockname()[1]}/accounts/x"
        transport = Transport(Location(base_url, NO_CREDENTIAL), timeout=(10.0, 0.05), sleep=pauses.sleep)
        with pytest.raises(errors.AnswerTimeoutError, match="no answer to POST"):
            transport.call("models_register", body={})
        transport.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.UnauthorizedError),
        (403, errors.UnauthorizedError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (413, errors.BadRequestError),
        (415, errors.BadRequestError),
        (418, errors.ApiError),
        (422, errors.BadRequestError),
        (500, errors.ServerError),
        (507, errors.ServerError),
        (302, errors.ApiError),
    ],
)
def test_status_decides_the_error(
    server: Server, transport: Transport, status: int, kind: type[errors.ApiError]
) -> None:
    body = {"code": "Bad", "message": "The name is bad.", "details": [{"code": "F", "message": "$.name: too short"}]}
    server.answers(Answer(status, body))
    with pytest.raises(errors.ApiError) as caught:
        transport.call("models_register", body={})
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.code, error.details) == (status, "Bad", (("F", "$.name: too short"),))
    assert error.method == "POST"
    assert error.url.startswith(server.base_url)
    assert "The name is bad." in str(error)
    assert "$.name: too short" in str(error)


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"", {}, "the server answered 404 Not Found"),
        (b"<html>lost</html>", {"Content-Type": "text/html"}, "the server answered 404 Not Found"),
        (b"no such thing", {"Content-Type": "text/plain"}, "no such thing"),
        (b'{"error": {"code": "Gone", "message": "It is gone."}}', {}, "It is gone."),
        (b"[1]", {}, "[1]"),
        (b"\xff", {}, "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_bodies_of_other_servers(
    server: Server, transport: Transport, body: bytes, headers: dict[str, str], message: str
) -> None:
    server.answers(Answer(404, body, headers))
    with pytest.raises(errors.NotFoundError) as caught:
        transport.call("models_get", id="x")
    assert message in caught.value.message
    assert "(404 for GET /api/" in caught.value.message


def test_wrong_token_says_where_it_came_from_and_is_not_shown(server: Server, transport: Transport) -> None:
    server.answers(Answer(401, b""))
    with pytest.raises(errors.UnauthorizedError, match="The token came from a test") as caught:
        transport.call("models_list")
    assert "secret" not in str(caught.value) + repr(transport.__dict__) + repr(StaticToken("secret", "a test"))


def test_moves_once_to_where_the_service_has_come_back(server: Server, pauses: Pauses) -> None:
    asked: list[str] = []

    def relocate() -> Location:
        asked.append("where?")
        return Location(server.base_url, StaticToken("new", "a test"))

    gone = Location(f"http://127.0.0.1:{free_port()}/accounts/x", NO_CREDENTIAL)
    transport = Transport(gone, relocate=relocate, sleep=pauses.sleep)
    server.script = lambda _: OK
    transport.call("models_register", body={})
    transport.call("models_list")
    assert asked == ["where?"]
    assert transport.base_url == server.base_url
    assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer new"] * 2
    assert pauses.made == []
    transport.close()


def test_loopback_ignores_proxies_and_netrc(
    server: Server, transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    server.answers(OK)
    transport.call("models_list")
    assert server.seen[0].headers["Authorization"] == "Bearer secret"


def test_other_servers_go_through_the_proxy(server: Server, monkeypatch: pytest.MonkeyPatch, pauses: Pauses) -> None:
    monkeypatch.setenv("http_proxy", server.origin)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.script = lambda seen: Answer(200, {"path": seen.path})
    transport = Transport(Location("http://models.example/accounts/x", NO_CREDENTIAL), sleep=pauses.sleep)
    assert transport.call("models_list").json() == {"path": "/accounts/x/models"}
    transport.close()


def test_answer_that_breaks_the_contract(server: Server, transport: Transport) -> None:
    server.answers(Answer(200, {"name": 5}), Answer(200, b"<html>"), Answer(200, b'{"other":' + b"[" * 100_000))
    with pytest.raises(errors.ServerError, match=r"does not follow the API contract: .*name"):
        decode(transport.call("models_get", id="x"), Model)
    for _ in range(2):
        with pytest.raises(errors.ServerError, match="does not follow the API contract"):
            decode(transport.call("models_get", id="x"), Model)


def test_empty_id_is_not_sent(server: Server, transport: Transport) -> None:
    with pytest.raises(errors.UsageError, match="the id of the model is empty"):
        transport.call("models_get", id="")
    assert server.seen == []


def test_every_operation_can_be_sent(server: Server, transport: Transport) -> None:
    server.script = lambda _: OK
    for operation in OPERATIONS.values():
        transport.call(operation.id, id="x")
        assert server.seen[-1].method == operation.method
        assert server.seen[-1].path == operation.path.replace("{id}", "x")


@dataclass
class AccessToken:
    token: str
    expires_on: float


class Azure:
    """What azure-identity's credentials look like."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def get_token(self, *scopes: str) -> AccessToken:
        self.asked.append(scopes)
        return AccessToken(f"token-{len(self.asked)}", expires_on=1000.0 * len(self.asked))


def test_azure_token_is_kept_until_shortly_before_it_expires() -> None:
    azure, now = Azure(), [0.0]
    credential = AzureToken(azure, clock=lambda: now[0])
    tokens = []
    for now[0] in (0.0, 600.0, 699.0, 701.0):
        tokens.append(credential.token())
    assert tokens == ["token-1", "token-1", "token-1", "token-2"]
    assert azure.asked == [(AZURE_SCOPE,)] * 2
    assert "token-1" not in repr(credential)


def test_token_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(errors.LocalServiceError, match="cannot be read"):
        TokenFile(tmp_path / "token").token()


def test_origins() -> None:
    assert origin("http://a/x") == origin("http://A:80/y")
    assert origin("https://a") == ("https", "a", 443)
    for bad in ("ftp://a", "a/b", "http://", "http://user@a/", "http://a:x/"):
        with pytest.raises(errors.UsageError):
            origin(bad)
    assert is_loopback("http://127.0.0.2:1/x")
    assert is_loopback("http://localhost")
    assert is_loopback("http://[::1]:8/")
    assert not is_loopback("http://10.0.0.1")
    assert not is_loopback("http://localhost.example")


def test_threads_share_a_transport(server: Server, transport: Transport) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def echo(seen: Seen) -> Answer:
        return Answer(200, {"path": seen.path})

    server.script = echo
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: transport.call("models_get", id=str(n)).json(), range(64)))
    assert [answer["path"] for answer in answers] == [f"/models/{n}" for n in range(64)]


def test_none_is_sent_if_a_property_has_another_default() -> None:
    """For a canary, None turns a condition off; left out, its default would apply."""
    steps = [CanaryStep(share=5)]
    sent = json.loads(encoded(CanaryRequest(steps=steps, max_errors=None, max_p95=None)))
    assert (sent["maxErrors"], sent["maxP95"]) == (None, None)
    assert not {"header", "minAgree"} & sent.keys()
    assert json.loads(encoded(ServiceUpdate(environment={"A": None}, num_replicas=2))) == {
        "environment": {"A": None},
        "numReplicas": 2,
    }
