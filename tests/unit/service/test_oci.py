"""Images without an engine, part by part: base images that are only read, layers, and registries that refuse."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.oci.base import BaseImages, is_path
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.oci.layers import LayerCache, LayerWriter, writing_layer
from mlmgmt_nb.service.building.oci.media import Descriptor, Layer, digest_of, machine
from mlmgmt_nb.service.building.oci.registry import Repository
from mlmgmt_nb.service.files.logs import Log

KIND = "application/vnd.oci.image"


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


def tar(*files: tuple[str, str]) -> bytes:
    """Return a layer: a name with `->` is a link to its content, with `=>` a hard link, and with `/` a folder."""
    kinds = {"->": tarfile.SYMTYPE, "=>": tarfile.LNKTYPE, "/": tarfile.DIRTYPE}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            end = next(filter(name.endswith, kinds), "")
            entry = tarfile.TarInfo(name.removesuffix(end))
            if end:
                entry.type, entry.linkname = kinds[end], content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


def header(name: str, size: int, kind: bytes) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def pax(content: bytes, size: int | None = None) -> bytes:
    """Return a layer that begins with an extended header."""
    return header("x", len(content) if size is None else size, b"x") + content.ljust(512, b"\0") + tar(("a", ""))


def write_layout(
    folder: Path,
    *layers: bytes,
    variables: tuple[str, ...] = (),
    media_type: str = "layer.v1.tar+gzip",
    pack: Callable[[bytes], bytes] = gzip.compress,
    **more: Any,
) -> None:
    """Write an OCI folder with an image of these layers."""

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        path = folder / "blobs" / "sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return {"mediaType": f"{KIND}.{media_type}", "digest": f"sha256:{digest}", "size": len(content)}

    config = {
        "architecture": machine(),
        "os": "linux",
        "config": {"Env": list(variables)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]},
        **more,
    }
    described = [blob(pack(layer), media_type) for layer in layers]
    manifest = {"schemaVersion": 2, "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": described}
    entry = blob(json.dumps({**manifest, "mediaType": f"{KIND}.manifest.v1+json"}).encode(), "manifest.v1+json")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def base_of(tmp_path: Path, log: Log, *layers: bytes, **more: Any) -> Any:
    folder = tmp_path / "layout"
    write_layout(folder, *layers, **more)
    images = BaseImages(BlobStore(tmp_path / "blobs"), tmp_path / "bases")
    return images.get(str(folder), log, Cancellation({}))


OFFICIAL = tar(
    ("usr/local/bin/python3.12", "elf"),
    ("usr/local/bin/python3->", "python3.12"),
    ("usr/local/lib/python3.12/os.py", ""),
    ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
)
DEBIAN = tar(
    ("bin->", "usr/bin"),
    ("usr/bin/python3.11", "elf"),
    ("usr/bin/python3->", "python3.11"),
    ("usr/lib/python3.11/os.py", ""),
    ("etc/alternatives/java->", "/usr/lib/jvm/java-17/bin/java"),
    ("usr/bin/java->", "/etc/alternatives/java"),
    ("usr/lib/jvm/java-17/bin/java", "elf"),
)
LINKED = tar(
    ("opt/python->", "python-3.12.4"),
    ("opt/python-3.12.4/bin/python3.12", "elf"),
    ("opt/python-3.12.4/bin/python3->", "python3.12"),
    ("opt/python-3.12.4/lib/python3.12/os.py", ""),
)
HARD = tar(("usr/local/bin/python3=>", "usr/local/bin/python3.12"))
WITHOUT_FIRST_NAME = tar(("usr/local/bin/.wh.python3.12", ""))
CONDA = tar(("./opt/conda/bin/python3.13", "elf"), ("./opt/conda/bin/python3->", "python3.13"))


@pytest.mark.parametrize(
    ("layers", "variables", "interpreter", "version", "libc", "has_java"),
    [
        ([OFFICIAL], (), "/usr/local/bin/python3.12", "3.12", "glibc", False),
        ([DEBIAN], ("PATH=/bin",), "/usr/bin/python3.11", "3.11", "glibc", True),
        ([DEBIAN, OFFICIAL], (), "/usr/local/bin/python3.12", "3.12", "glibc", True),
        ([OFFICIAL, tar(("lib/ld-musl-x86_64.so.1", ""))], (), "/usr/local/bin/python3.12", "3.12", "musl", False),
        (
            [CONDA, tar(("opt/conda/lib/python3.13/os.py", ""))],
            ("PATH=/opt/conda/bin:/usr/bin",),
            "/opt/conda/bin/python3.13",
            "3.13",
            "glibc",
            False,
        ),
        # a higher layer removes the Python of a lower one, alone or with its folder
        ([OFFICIAL, DEBIAN, tar(("usr/local/bin/.wh.python3", ""))], (), "/usr/bin/python3.11", "3.11", "glibc", True),
        ([OFFICIAL, DEBIAN, tar(("usr/local/.wh..wh..opq", ""))], (), "/usr/bin/python3.11", "3.11", "glibc", True),
        ([OFFICIAL, DEBIAN, tar(("usr/.wh.local", ""))], (), "/usr/bin/python3.11", "3.11", "glibc", True),
        ([OFFICIAL, tar((".wh..wh..opq", "")), DEBIAN], (), "/usr/bin/python3.11", "3.11", "glibc", True),
        # ... or puts something else in its place
        ([OFFICIAL, DEBIAN, tar(("usr/local", "a file"))], (), "/usr/bin/python3.11", "3.11", "glibc", True),
        ([OFFICIAL, DEBIAN, tar(("usr/local/bin/python3/", ""))], (), "/usr/bin/python3.11", "3.11", "glibc", True),
        # folders in the path of Python are links
        ([LINKED], ("PATH=/opt/python/bin",), "/opt/python-3.12.4/bin/python3.12", "3.12", "glibc", False),
        # a hard link is a name of its own, which outlives the other one
        (
            [OFFICIAL, HARD, tar(("usr/local/bin/.wh.python3.12", ""))],
            (),
            "/usr/local/bin/python3",
            "3.12",
            "glibc",
            False,
        ),
    ],
)
def test_the_python_of_a_base_image(
    tmp_path: Path,
    log: Log,
    layers: list[bytes],
    variables: tuple[str, ...],
    interpreter: str,
    version: str,
    libc: str,
    has_java: bool,
) -> None:
    base = base_of(tmp_path, log, *layers, variables=variables)
    assert (base.interpreter, base.python.version, base.python.libc) == (interpreter, version, libc)
    assert base.has_java is has_java


def test_users_of_a_base_image(tmp_path: Path, log: Log) -> None:
    above = tar(("etc/passwd", "ann:x:1000:1000::/:/bin/sh\n"))
    assert base_of(tmp_path, log, OFFICIAL, above).users == "ann:x:1000:1000::/:/bin/sh\n"


@pytest.mark.parametrize(
    ("layers", "more", "message"),
    [
        ([tar(("etc/passwd", ""))], {}, "has no python3 in its PATH"),
        ([tar(("usr/bin/python3->", "python3"))], {}, "has no python3 in its PATH"),
        ([tar(("usr/bin/python3", ""))], {}, "/usr/bin/python3 without a standard library in /usr/lib/"),
        ([tar(("usr/bin/python3", ""), ("usr/lib/python3.9/os.py", ""))], {}, "has Python 3.9"),
        ([OFFICIAL], {"architecture": "s390x"}, "is for linux/s390x, and this machine is linux/"),
        ([OFFICIAL], {"os": "windows"}, "is for windows/"),
        ([OFFICIAL], {"rootfs": {"diff_ids": []}}, "has other layers"),
        ([OFFICIAL], {"rootfs": 7}, "configuration of the base image"),
        ([OFFICIAL], {"rootfs": {"diff_ids": [7]}}, "configuration of the base image"),
        ([OFFICIAL], {"rootfs": {"diff_ids": [f"sha256:{'0' * 64}"]}}, "is not the one that the configuration"),
        ([OFFICIAL], {"config": [1]}, "configuration of the base image"),
        ([OFFICIAL], {"config": {"Env": [7]}}, "configuration of the base image"),
        ([OFFICIAL], {"config": {"Labels": ["a"]}}, "configuration of the base image"),
        ([OFFICIAL], {"history": 7}, "configuration of the base image"),
        ([b"no tar archive" * 100], {}, "cannot be read: its layer sha256:"),
        ([header("etc/passwd", 5000, b"0") + b"root"], {}, "its layer .* is damaged: unexpected end of data"),
        ([pax(b"9" * 30 + b" a=b\n")], {}, "its layer .* is damaged"),
        ([pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n")], {}, "its layer .* is damaged"),
        ([pax(b"", size=2**40)], {}, "its layer .* has a header that is longer than"),
        ([(header("././@LongLink", 10, b"L") + b"a" * 512) * 5000], {}, "its layer .* is damaged: maximum recursion"),
        ([b"no tar archive" * 100], {"media_type": "layer.v1.tar+zstd"}, "its layer .*zstd.* has an unknown format"),
        ([OFFICIAL], {"pack": lambda layer: gzip.compress(layer)[:-8] + bytes(8)}, "its layer .* is damaged: CRC"),
    ],
)
def test_base_images_that_cannot_be_used(
    tmp_path: Path, log: Log, layers: list[bytes], more: Any, message: str
) -> None:
    with pytest.raises(BuildError, match=message) as raised:
        base_of(tmp_path, log, *layers, **more)
    assert raised.value.code == "BadBaseImage"


def test_an_index_in_a_layout(tmp_path: Path, log: Log, blobs: BlobStore) -> None:
    """Newer engines save an index of platforms, with attestations beside the image."""
    folder = tmp_path / "layout"
    write_layout(folder, OFFICIAL)
    index = json.loads((folder / "index.json").read_text())
    (inner,) = index["manifests"]
    inner["platform"] = {"os": "linux", "architecture": machine()}
    others = [entry("s390x"), {**entry("unknown"), "platform": {"os": "unknown", "architecture": "unknown"}}]
    content = json.dumps({"schemaVersion": 2, "manifests": [*others, inner]}).encode()
    (folder / "blobs" / "sha256" / hashlib.sha256(content).hexdigest()).write_bytes(content)
    outer = {"mediaType": f"{KIND}.index.v1+json", "digest": digest_of(content), "size": len(content)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [outer]}))
    found = BaseImages(blobs, tmp_path / "bases").get(str(folder), log, Cancellation({}))
    assert found.digest == inner["digest"]


def test_a_layout_cannot_name_other_files(tmp_path: Path, log: Log, blobs: BlobStore) -> None:
    folder = tmp_path / "layout"
    write_layout(folder, OFFICIAL)
    index = json.loads((folder / "index.json").read_text())
    index["manifests"][0]["digest"] = "sha256:../../../secret"
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(BuildError, match="is not a digest"):
        BaseImages(blobs, tmp_path / "bases").get(str(folder), log, Cancellation({}))


def test_an_archive_is_read_once(tmp_path: Path, log: Log, blobs: BlobStore) -> None:
    """Read it again only when it has changed, or when its contents were removed."""
    write_layout(tmp_path / "layout", OFFICIAL)
    archive = tmp_path / "base.tar"
    with tarfile.open(archive, "w") as packed:
        packed.add(tmp_path / "layout", ".")
    images = BaseImages(blobs, tmp_path / "bases")
    first = images.get(str(archive), log, Cancellation({}))
    status, content = archive.stat(), archive.read_bytes()
    archive.write_bytes(b"\0" * len(content))
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert images.get(str(archive), log, Cancellation({})) == first
    blobs.path(first.layers[0].content.digest).unlink()
    with pytest.raises(BuildError, match="not an OCI archive"):
        images.get(str(archive), log, Cancellation({}))
    archive.write_bytes(content)
    assert images.get(str(archive), log, Cancellation({})) == first


@pytest.mark.parametrize(
    ("base", "expected"), [("python:3.11", False), ("/a/b.tar", True), ("./b", True), ("h/a", False)]
)
def test_paths_and_references(base: str, expected: bool) -> None:
    assert is_path(base) is expected


def made(blobs: BlobStore, folder: Path, *, is_compressed: bool = True) -> Layer:
    layers: list[Layer] = []
    with writing_layer(blobs, layers, is_compressed=is_compressed) as writer:
        writer.tree(folder, "app", 1000)
    return layers[0]


@pytest.mark.parametrize("is_compressed", [True, False])
def test_layers_have_the_same_bytes(blobs: BlobStore, tmp_path: Path, is_compressed: bool) -> None:
    """Times, owners and the order of creation do not matter; links stay links."""
    layers = []
    for number, names in enumerate((["a", "b"], ["b", "a"])):
        folder = tmp_path / f"folder-{number}"
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name * 1000)
            os.utime(folder / name, (number, number))
        (folder / "soft").symlink_to("a")
        (folder / "hard").hardlink_to(folder / "a")
        (folder / "gone").symlink_to("nowhere")
        layers.append(made(blobs, folder, is_compressed=is_compressed))
    assert layers[0] == layers[1]
    content = blobs.read(layers[0].content)
    assert layers[0].content.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    plain = gzip.decompress(content) if is_compressed else content
    assert layers[0].diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert archive.getnames() == ["app", "app/a", "app/b", "app/gone", "app/hard", "app/soft"]
        assert {entry.uid for entry in archive} == {1000}
        assert archive.getmember("app/hard").islnk()
        assert archive.getmember("app/soft").linkname == "a"


def test_a_failed_layer_leaves_nothing(blobs: BlobStore) -> None:
    def fail(writer: LayerWriter) -> None:
        writer.text("a", "a")
        raise ValueError

    layers: list[Layer] = []
    with pytest.raises(ValueError), writing_layer(blobs, layers) as writer:  # noqa: PT011
        fail(writer)
    assert (layers, list(blobs.folder.iterdir())) == ([], [])


def test_layers_are_made_once(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    cache = LayerCache(blobs, tmp_path / "layers")
    first, is_known = cache.get("key", lambda: made(blobs, tmp_path / "folder"))
    assert not is_known
    assert cache.get("key", lambda: pytest.fail("made again")) == (first, True)
    blobs.path(first.content.digest).unlink()
    assert cache.get("key", lambda: made(blobs, tmp_path / "folder")) == (first, False)


def test_damaged_contents_are_refused(blobs: BlobStore) -> None:
    for chunks in ([b"other"], [b"whole", b"more"], []):
        with pytest.raises(BuildError, match="damaged or incomplete"):
            blobs.add(Descriptor("x", f"sha256:{hashlib.sha256(b'whole').hexdigest()}", 5), chunks)
    assert list(blobs.folder.iterdir()) == []
    with pytest.raises(BuildError, match="not a digest"):
        blobs.path("sha256:../../etc/passwd")


@contextmanager
def registry(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[str]:
    """Yield the host of a server that gives these answers in turn, the last one again and again."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def entry(architecture: str) -> dict[str, Any]:
    manifest = json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [], "for": architecture}).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    platform = {"os": "linux", "architecture": architecture}
    return {"mediaType": f"{KIND}.manifest.v1+json", "digest": digest, "size": len(manifest), "platform": platform}


CONFIG = {"mediaType": f"{KIND}.config.v1+json", "digest": f"sha256:{'0' * 64}", "size": 2}


def test_an_index_leads_to_the_image_of_this_machine() -> None:
    index = {"schemaVersion": 2, "manifests": [entry("s390x"), entry(machine())]}
    manifest = json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [], "for": machine()}).encode()
    with registry((200, {}, json.dumps(index).encode()), (200, {}, manifest)) as host:
        assert digest_of(Repository(f"{host}/team/base").manifest("3")) == entry(machine())["digest"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'), "manifest unknown"),
        ((503, {}, b"<html>"), "503"),
        ((401, {"WWW-Authenticate": "Basic realm=x"}, b""), "docker login"),
        ((200, {}, b"<html>"), "cannot be read"),
        ((200, {}, b"\xff\xfe"), "cannot be understood: UnicodeDecodeError"),
        ((200, {}, b'{"other":' + b"[" * 100_000), "cannot be read"),
        ((302, {"Location": "http://[::1"}, b""), "cannot be understood: ValueError"),
        ((404, {}, b"[" * 100_000), "404"),
        ((200, {}, b"{}"), "unknown type"),
        ((200, {}, json.dumps({"schemaVersion": 2, "manifests": [entry("s390x")]}).encode()), "is for linux/s390x"),
        ((200, {}, b'{"schemaVersion": 1, "mediaType": "application/vnd.other"}'), "application/vnd.other"),
    ],
)
def test_what_a_registry_says(answer: tuple[int, dict[str, str], bytes], message: str) -> None:
    with registry(answer) as host, pytest.raises(BuildError, match=message) as raised:
        Repository(f"{host}/team/base").manifest("3")
    assert f"{host}/team/base" in raised.value.message


def test_an_identity_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with registry((401, {"WWW-Authenticate": "Basic realm=x"}, b"")) as host:
        given = {"auths": {host: {"auth": "dTo=", "identitytoken": "canary"}}}
        (tmp_path / "config.json").write_text(json.dumps(given))
        with pytest.raises(BuildError, match="an identity token") as raised:
            Repository(f"{host}/team/base").manifest("3")
    assert "canary" not in raised.value.message


@pytest.mark.parametrize(
    ("upload", "there", "expected"),
    [
        ((202, {}, b""), (404, {}, b""), "cannot be understood: KeyError: 'location'"),
        ((202, {"Location": "http://[::1"}, b""), (404, {}, b""), "cannot be understood: ValueError"),
        ((500, {}, b""), (200, {"Content-Length": "?"}, b""), None),
    ],
)
def test_odd_responses_to_a_push(
    blobs: BlobStore, upload: tuple[int, dict[str, str], bytes], there: Any, expected: str | None
) -> None:
    content = blobs.add_bytes(b"content", "x")
    with registry(there, upload) as host:
        repository = Repository(f"{host}/team/base")
        if expected is None:
            assert repository.push(content, blobs, Cancellation({})) is False
            return
        with pytest.raises(BuildError, match=expected):
            repository.push(content, blobs, Cancellation({}))


def test_a_document_that_does_not_fit_into_memory(blobs: BlobStore) -> None:
    with pytest.raises(BuildError, match="is larger than"):
        blobs.read(Descriptor("x", digest_of(b""), 2**40))


def test_a_name_that_is_a_url() -> None:
    with pytest.raises(BuildError, match="is not the name of a repository"):
        Repository("http://localhost/base")


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(BuildError, match="Connection refused"):
        Repository("localhost:1/team/base").manifest("3")
