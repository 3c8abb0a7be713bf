"""Downloads over HTTP: which URLs are allowed, at every hop and whatever a name resolves to."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import aiohttp
import psutil
import pytest

from mlmgmt_nb.service.building import download
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.fetch import Fetcher
from mlmgmt_nb.service.files.artifacts import ArtifactStore

SCHEMES = frozenset({"http", "https", "s3"})


class _Server(http.server.BaseHTTPRequestHandler):
    """`/to/STATUS/URL` redirects; everything else is the content."""

    def do_GET(self) -> None:
        SEEN.append(self.path)
        if self.path.startswith("/to/"):
            status, _, location = self.path.removeprefix("/to/").partition("/")
            self.send_response(int(status))
            self.send_header("location", unquote(location))
            content = b"redirected"
        else:
            self.send_response(404 if "missing" in self.path else 200)
            content = b"content" * 300_000
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


SEEN: list[str] = []
"""Requested paths."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def fetch(folder: Path, url: str, hosts: set[str] | None = None, *, is_shared: bool = False) -> bytes:
    SEEN.clear()
    fetcher = Fetcher(
        ArtifactStore(folder / "artifacts"), SCHEMES, frozenset(hosts) if hosts else None, is_shared=is_shared
    )
    fetcher.fetch(url, folder / "content", "model 'm'", Cancellation({}))
    return (folder / "content").read_bytes()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(tmp_path: Path, port: int, status: int) -> None:
    for location in (f"http://127.0.0.1:{port}/inner", "/inner", "../../inner", f"//127.0.0.1:{port}/inner"):
        assert fetch(tmp_path, f"http://127.0.0.1:{port}/to/{status}/{location}", {"127.0.0.1"}) == b"content" * 300_000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://localhost:PORT/inner", "host 'localhost'"),
        ("//localhost:PORT/inner", "host 'localhost'"),
        ("http://LOCALHOST:PORT/inner", "host 'localhost'"),
        ("http://127.1:PORT/inner", "host '127.1'"),
        ("http://[::1]:PORT/inner", "host '::1'"),
        ("http://127.0.0.1@localhost:PORT/inner", "host 'localhost'"),
        ("http://localhost:PORT/?x=://127.0.0.1", "host 'localhost'"),
        ("file:///etc/hostname", "scheme 'file'"),
        ("ftp://127.0.0.1/inner", "scheme 'ftp'"),
        ("http://127.0.0.1:PORT/to/302/http%3A//localhost%3APORT/inner", "host 'localhost'"),
    ],
)
def test_redirects_lead_only_where_a_url_may(tmp_path: Path, port: int, status: int, location: str, said: str) -> None:
    url = f"http://127.0.0.1:{port}/to/{status}/{location}".replace("PORT", str(port))
    with pytest.raises(BuildError, match=f"model 'm'.*{said}"):
        fetch(tmp_path, url, {"127.0.0.1"})
    assert not [path for path in SEEN if "/inner" in path and "/to/" not in path]


def test_redirects_to_other_kinds_of_storage(tmp_path: Path, port: int) -> None:
    with pytest.raises(BuildError, match="scheme 's3'"):
        fetch(tmp_path, f"http://127.0.0.1:{port}/to/302/s3://127.0.0.1/key", {"127.0.0.1"})


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]", "127.9.9.9"],
)
def test_a_shared_service_reads_nothing_from_its_own_machine(tmp_path: Path, port: int, host: str) -> None:
    url = f"http://{host}:{port}/inner"
    with pytest.raises(BuildError, match=r"--url-host|not a canonical IPv4 address"):
        fetch(tmp_path, url, is_shared=True)
    assert not SEEN


NEAR = [
    *("169.254.169.254", "[fe80::1%25lo]", "[::ffff:169.254.169.254]", "224.0.0.1", "0xa9fea9fe"),
    *("[64:ff9b::a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[::127.0.0.1]", "[::]"),
    *("[ff02::1]", "168.63.129.16", "100.100.100.200", "[fd00:ec2::254]"),
]


@pytest.mark.parametrize("host", NEAR)
def test_nor_from_its_link(tmp_path: Path, host: str) -> None:
    with pytest.raises(BuildError, match="--url-host"):
        fetch(tmp_path, f"http://{host}:9/latest/meta-data", is_shared=True)


def test_nor_from_the_addresses_of_its_interfaces(tmp_path: Path) -> None:
    """A service of this machine that listens on all of them is not for those who can register URLs."""
    own = [a.address for found in psutil.net_if_addrs().values() for a in found if a.family == socket.AF_INET]
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        for address in own:
            with pytest.raises(BuildError, match="--url-host"):
                fetch(tmp_path, f"http://{address}:{server.server_port}/inner", is_shared=True)
            assert fetch(tmp_path, f"http://{address}:{server.server_port}/inner", {address}, is_shared=True)
        server.shutdown()


@pytest.mark.parametrize(("status", "hops"), [(302, 1), (307, 3)])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]", "169.254.169.254", "127.1", "[::ffff:7f00:1]"])
def test_nor_after_redirects_of_an_allowed_host(tmp_path: Path, port: int, status: int, hops: int, host: str) -> None:
    """The operator named one host; those that it redirects to are not named."""
    location = f"http://{host}:{port}/inner"
    for _ in range(hops):
        location = f"http://127.0.0.1:{port}/to/{status}/{quote(location, safe='')}"
    with pytest.raises(BuildError, match="--url-host"):
        fetch(tmp_path, location, {"127.0.0.1"}, is_shared=True)
    assert not [path for path in SEEN if path == "/inner"]


def test_names_that_resolve_to_such_an_address(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the name has others before it, or resolves to something else the next time."""
    far = ("192.0.2.1", port)

    def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        addresses = {"mixed.example": [far, ("127.0.0.1", port)], "near.example": [("169.254.169.254", port)]}[host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(download, "_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_connect=1))
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for host in ("mixed.example", "near.example"):
        with pytest.raises(BuildError, match=r"--url-host|cannot be read"):
            fetch(tmp_path, f"http://{host}:{port}/inner", is_shared=True)
    assert not SEEN


def test_unless_the_operator_names_the_host(tmp_path: Path, port: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert fetch(tmp_path, f"http://{host}:{port}/inner", {host}, is_shared=True)
    with pytest.raises(BuildError, match="Allowed: localhost"):
        fetch(tmp_path, f"http://127.0.0.1:{port}/inner", {"localhost"}, is_shared=True)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/missing?sig=canary", "the server answered 404"),
        ("/to/302//missing?sig=canary", "the server answered 404"),
        ("/to/302/http%3A//127.0.0.1%3A9/x?sig=canary", "cannot be read"),
        ("/to/302/http%3A//[x/?sig=canary", "an invalid URL"),
        ("/to/302/?sig=canary", "redirects"),
    ],
)
def test_what_cannot_be_read_is_said_without_a_signature(tmp_path: Path, port: int, path: str, said: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        fetch(tmp_path, f"http://127.0.0.1:{port}{path}")
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("url", ["http://[::1", "http://[x]/y", "s3:/etc/hostname", "s3:x", "http:/x/y", "s3:x://y"])
def test_what_is_not_a_url(tmp_path: Path, url: str) -> None:
    """A storage library would read some of these from the disk of the service."""
    with pytest.raises(BuildError, match=r"A URL of the manifest cannot be read|is not a URL of the form") as caught:
        fetch(tmp_path, url)
    assert caught.value.code == "BadUrl"


def test_chained_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="'::'"):
        fetch(tmp_path, "s3://bucket/x::file:///etc/hostname")
