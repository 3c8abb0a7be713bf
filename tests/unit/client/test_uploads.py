"""Uploads: each byte once, also after broken connections; and what cannot be uploaded."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmgmt_nb import errors
from mlmgmt_nb.client.http.credentials import StaticToken
from mlmgmt_nb.client.http.files import as_source, check_readable, mime_type_of
from mlmgmt_nb.client.http.transport import Location, Transport
from mlmgmt_nb.client.http.uploads import Uploader
from tests.unit.client.conftest import ACCOUNT, Answer, Pauses, Seen, Server

MIB = 2**20


class Store:
    """The artifact store of a server, in memory."""

    def __init__(self, server: Server) -> None:
        self.contents: dict[str, bytearray] = {}
        self.whole: set[str] = set()
        self.server = server
        self.troubles: list[Answer] = []
        server.script = self.answer

    def answer(self, seen: Seen) -> Answer:
        digest = seen.path.rpartition("/")[2]
        content = self.contents.setdefault(digest, bytearray())
        offset = {"Upload-Offset": str(len(content))}
        if seen.method == "HEAD":
            return Answer(200) if digest in self.whole else Answer(404, headers=offset)
        assert seen.headers["Content-Type"] == "application/offset+octet-stream"
        if self.troubles:
            return self.troubles.pop(0)
        if int(seen.headers["Upload-Offset"]) != len(content):
            return Answer(409, headers=offset)
        content += seen.body
        if len(content) < int(seen.headers["Upload-Length"]):
            return Answer(204, headers={"Upload-Offset": str(len(content))})
        if hashlib.sha256(content).hexdigest() != digest:
            content.clear()
            return Answer(422)
        self.whole.add(digest)
        return Answer(201)


@pytest.fixture
def store(server: Server) -> Store:
    return Store(server)


@pytest.fixture
def uploader(transport: Transport) -> Uploader:
    return Uploader(transport, part_bytes=1000)


def methods(server: Server) -> list[str]:
    return [seen.method for seen in server.seen]


def test_parts_and_progress(server: Server, store: Store, uploader: Uploader, tmp_path: Path) -> None:
    path = tmp_path / "my model.bin"
    path.write_bytes(os.urandom(2500))
    progress: list[tuple[int, int]] = []
    uploaded = uploader.upload(path, field="model", progress=lambda sent, total: progress.append((sent, total)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert uploaded.url == f"{server.base_url}/artifacts/sha256/{digest}/my%20model.bin"
    assert (uploaded.mime_type, uploaded.unpack) == ("application/octet-stream", False)
    assert bytes(store.contents[digest]) == path.read_bytes()
    assert [len(seen.body) for seen in server.seen if seen.method == "PATCH"] == [1000, 1000, 500]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == ((0, 2500), (2500, 2500))


def test_same_bytes_are_not_sent_twice(server: Server, store: Store, uploader: Uploader, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"same")
        uploader.upload(tmp_path / name, field="model")
    assert methods(server) == ["HEAD", "PATCH", "HEAD", "HEAD"]


def test_goes_on_where_the_store_stands(server: Server, store: Store, uploader: Uploader, tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(os.urandom(1500))
    store.contents[hashlib.sha256(path.read_bytes()).hexdigest()] = bytearray(path.read_bytes()[:700])
    uploader.upload(path, field="model")
    assert [len(seen.body) for seen in server.seen if seen.method == "PATCH"] == [800]


@pytest.mark.parametrize(("content", "stored"), [(b"", b""), (b"whole", b"whole")])
def test_content_without_more_bytes_is_ended(
    server: Server, store: Store, uploader: Uploader, tmp_path: Path, content: bytes, stored: bytes
) -> None:
    """An empty file, and one whose bytes all arrived before the store had checked them."""
    path = tmp_path / "requirements.txt"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    store.contents[digest] = bytearray(stored)
    uploader.upload(path, field="requirements")
    uploader.upload_text("", "requirements.txt")
    assert store.whole == {digest, hashlib.sha256(b"").hexdigest()}
    assert {len(seen.body) for seen in server.seen if seen.method == "PATCH"} == {0}


def test_a_store_that_never_ends_an_upload(store: Store, uploader: Uploader, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    store.troubles = [Answer(204)] * 99
    with pytest.raises(errors.UploadError, match="does not accept the bytes from 0 on"):
        uploader.upload(tmp_path / "empty", field="dependencies")


def test_waits_for_another_upload(
    server: Server, store: Store, uploader: Uploader, pauses: Pauses, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"bytes")
    store.troubles = [Answer(409, headers={"Retry-After": "3"}), Answer(503, headers={"Retry-After": "2"})]
    uploader.upload(tmp_path / "m.bin", field="model")
    assert pauses.made == [3.0, 2.0]
    assert len(store.whole) == 1


def test_gives_up_when_nothing_gets_through(
    server: Server, store: Store, uploader: Uploader, pauses: Pauses, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"bytes")
    store.troubles = [Answer(broken=True)] * 9
    with pytest.raises(errors.UploadError, match=r"(?s)broke 6 times at byte 0 of 5.*resumes there"):
        uploader.upload(tmp_path / "m.bin", field="model")
    assert len(store.troubles) == 3
    store.troubles.clear()
    uploader.upload(tmp_path / "m.bin", field="model")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(507, {"code": "DiskFull", "message": "The disk is full: free some space."}), "The disk is full"),
        (Answer(422), "the received bytes differ from the sent ones"),
        (Answer(401), "refused"),
    ],
)
def test_refusals(store: Store, uploader: Uploader, tmp_path: Path, answer: Answer, message: str) -> None:
    (tmp_path / "m.bin").write_bytes(b"bytes")
    store.troubles = [answer]
    with pytest.raises(errors.UploadError, match=message):
        uploader.upload(tmp_path / "m.bin", field="model")


def test_server_without_a_store(server: Server, uploader: Uploader, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"bytes")
    server.answers(Answer(404))
    with pytest.raises(errors.UploadError, match="has no artifact store"):
        uploader.upload(tmp_path / "m.bin", field="model")


def test_file_that_changes(server: Server, store: Store, uploader: Uploader, tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"x" * 1500)
    answer = store.answer

    def script(seen: Seen) -> Answer:
        if seen.method == "PATCH":
            path.write_bytes(b"y" * 20)
        return answer(seen)

    server.script = script
    with pytest.raises(errors.UploadError, match="the file changed while it was uploaded"):
        uploader.upload(path, field="model")


class Breaking:
    """A server that takes so many bytes of each upload request and then closes the connection; it keeps what came."""

    def __init__(self, bytes_a_request: int) -> None:
        self.kept = bytearray()
        self.bytes_a_request = bytes_a_request
        self.requests = 0
        self.whole = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{ACCOUNT}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reader:
                self._answer(connection, reader)

    def _answer(self, connection: socket.socket, reader: io.BufferedReader) -> None:
        method = reader.readline().split()[0]
        headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(reader.readline, b"\r\n"))
        if method == b"HEAD":
            status = "200 OK" if self.whole else f"404 Not Found\r\nUpload-Offset: {len(self.kept)}"
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        self.requests += 1
        assert int(headers["upload-offset"]) == len(self.kept)
        left = int(headers["content-length"])
        self.kept += reader.read(min(left, self.bytes_a_request))
        self.whole = left <= self.bytes_a_request
        if self.whole:
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def breaking() -> Iterator[Breaking]:
    server = Breaking(bytes_a_request=3 * MIB)
    yield server
    server.close()


def test_connection_that_breaks_again_and_again(breaking: Breaking, pauses: Pauses, tmp_path: Path) -> None:
    """20 MiB get through although no connection lasts for more than 3 MiB, and no byte is kept twice."""
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(20 * MIB))
    location = Location(breaking.base_url, StaticToken("secret", "a test"))
    transport = Transport(location, sleep=pauses.sleep, clock=pauses.clock, uniform=lambda: 1.0)
    Uploader(transport).upload(path, field="model")
    assert hashlib.sha256(breaking.kept).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert breaking.requests == 7
    transport.close()


def test_folder_is_the_same_archive_each_time(server: Server, store: Store, uploader: Uploader, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "sub" / "a.txt").write_text("a")
    (folder / "link.txt").symlink_to("sub/a.txt")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("changes")
    first = uploader.upload(folder, field="model")
    os.utime(folder / "b.txt", (1, 1))
    assert uploader.upload(folder, field="model") == first
    assert (first.mime_type, first.unpack) == ("application/gzip", True)
    assert first.url.endswith("/model.tar.gz")
    content = bytes(next(iter(store.contents.values())))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == ["model/b.txt", "model/link.txt", "model/sub", "model/sub/a.txt"]
        members = tar.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.issym()) for m in members} == {(0, 0, 0, False)}
        linked = tar.extractfile("model/link.txt")
        assert linked is not None
        assert linked.read() == b"a"


def test_what_cannot_be_uploaded(tmp_path: Path) -> None:
    empty, folder, outside = tmp_path / "empty.bin", tmp_path / "folder", tmp_path / "outside"
    empty.touch()
    folder.mkdir()
    outside.write_text("x")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases = {
        tmp_path / "missing.bin": "file not found: .*missing.bin",
        empty: "is empty",
        folder: "has no files",
        pipe: "neither a file nor a folder",
    }
    for path, message in cases.items():
        with pytest.raises(errors.UsageError, match=f"model: .*{message}") as caught:
            check_readable(path, "model")
        assert caught.value.field == "model"
        assert caught.value.fix


@pytest.mark.parametrize(
    ("target", "message"),
    [("nowhere", "is broken"), ("../outside", "points outside the folder"), (".", "is part of a cycle")],
)
def test_links_in_folders(tmp_path: Path, target: str, message: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_text("x")
    (folder / "file").write_text("x")
    (folder / "link").symlink_to(target)
    with pytest.raises(errors.UsageError, match=f"model: the link .*folder/link {message}"):
        check_readable(folder, "model")


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("m.pkl", "application/octet-stream"),
        ("m.joblib", "application/octet-stream"),
        ("m.onnx", "application/octet-stream"),
        ("m", "application/octet-stream"),
        ("m.json", "application/json"),
        ("m.tar.gz", "application/gzip"),
        ("m.zip", "application/zip"),
        ("score.py", "text/x-python"),
        ("r.txt", "text/plain"),
    ],
)
def test_mime_types(name: str, mime_type: str) -> None:
    assert mime_type_of(name) == mime_type


def test_a_url_that_cannot_be_taken_apart() -> None:
    with pytest.raises(errors.UsageError, match=r"'http://\[x' is not a URL") as caught:
        as_source("http://[x", "model")
    assert (caught.value.field, caught.value.fix) == ("model", "Check the URL.")
