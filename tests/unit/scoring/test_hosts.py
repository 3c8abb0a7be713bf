"""Which `Host` and `Origin` a port answers to."""

from __future__ import annotations

import pytest

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.http.access.hosts import ANY, LOOPBACK, HostCheck, cross_origins

OWN = ("localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:5001", "[::1]", "[::1]:80", "localhost:")
FOREIGN = (
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "10.0.0.1",
    "[::2]",
    "localhost.",
    "0",
)
MALFORMED = (
    *(
        "a b",
        "a,b",
        "localhost, localhost",
        "localhost@evil.example",
        "evil.example/?x=://127.0.0.1",
        "http://localhost",
    ),
    *("localhost:80:80", "localhost:x", "::1", "[::1", "[localhost]", "localhost#", "loc\xe4l", "localhost\0", ":80"),
)


def status(check: HostCheck, host: str, origin: str = "") -> int:
    sent = host.encode("latin-1"), origin.encode("latin-1")
    admitted = [check.admits(*sent) for _ in range(2)]  # the second time it is cached
    try:
        check.check(*sent)
    except RequestError as error:
        assert admitted == [False, False]
        return error.status
    assert admitted == [True, True]
    return 200


@pytest.mark.parametrize(("hosts", "expected"), [(OWN, 200), (FOREIGN, 403), (MALFORMED, 400), (("",), 200)])
def test_hosts(hosts: tuple[str, ...], expected: int) -> None:
    check = HostCheck()
    for host in hosts:
        assert status(check, host) == expected, host


@pytest.mark.parametrize(
    ("allowed", "right", "wrong"),
    [
        (["ML.example"], ["ml.example", "ml.example:80"], ["a.ml.example", "ml.example.evil", "10.0.0.1"]),
        (["10.1.0.0/16"], ["10.1.2.3:80"], ["10.2.0.1", "ml.example", "[::1]"]),
        (["0.0.0.0/0", "::/0"], ["10.1.2.3", "[2001:db8::1]:80"], ["ml.example", "1.2.3.4.evil.example"]),
        ([ANY], ["ml.example", "10.0.0.1", "[::1]:80"], []),
    ],
)
def test_hosts_that_are_allowed(allowed: list[str], right: list[str], wrong: list[str]) -> None:
    check = HostCheck(allowed)
    assert [status(check, host) for host in right] == [200] * len(right)
    assert [status(check, host) for host in wrong] == [403] * len(wrong)
    assert status(check, "a b") == 400


def test_a_network_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"is not a network\. Use the form"):
        HostCheck(["10.0.0.0/99"])


PAGES = ["http://localhost:8888", "https://127.0.0.1", "http://[::1]:80"]
FOREIGN_PAGES = ["http://evil.example", "null", "http://localhost.evil.example", "file://", "http://", "x", "localhost"]


@pytest.mark.parametrize(
    ("allowed", "origins", "right", "wrong"),
    [
        (LOOPBACK, [], PAGES, [*FOREIGN_PAGES, "http://a, http://localhost"]),
        (LOOPBACK, ["https://app.example/"], [*PAGES, "https://APP.example"], [*FOREIGN_PAGES, "http://app.example"]),
        (LOOPBACK, ["*"], [*PAGES, *FOREIGN_PAGES], []),
        ([ANY], [], ["https://localhost", "http://localhost:1"], ["http://127.0.0.1", "http://ml.example", "null"]),
    ],
)
def test_origins(allowed: list[str], origins: list[str], right: list[str], wrong: list[str]) -> None:
    check = HostCheck(allowed, origins)
    assert {origin: status(check, "localhost", origin) for origin in right} == dict.fromkeys(right, 200)
    assert {origin: status(check, "localhost", origin) for origin in wrong} == dict.fromkeys(wrong, 403)
    if ANY not in allowed:
        assert status(check, "evil.example", "https://app.example") == 403, "an allowed page, but not our host"


def test_a_host_that_is_known_does_not_vouch_for_an_origin() -> None:
    check = HostCheck()
    assert check.admits(b"localhost", b"")
    assert not check.admits(b"localhost", b"http://evil.example")


def test_origins_of_the_environment() -> None:
    assert cross_origins({}) == []
    assert cross_origins({"AML_CORS_ORIGINS": " https://a.example,, * "}) == ["https://a.example", "*"]
