"""Archives: what is extracted, what is refused with which reason, and that nothing is ever written outside."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlmgmt_nb.archives.extraction import ArchiveError, Limits, extract, extract_tar

Entry = tuple[str, bytes, str]
"""Name, type of `tarfile`, and content or target of a link."""

FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def tar_of(entries: Sequence[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind in {LINK, HARD}:
                info.linkname = content
            data = content.encode() if kind == FILE else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(entries: Sequence[Entry]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, kind, content in entries:
            info = zipfile.ZipInfo(name.rstrip("/") + "/" if kind == FOLDER else name or "x")
            info.create_system = 3
            modes = {FOLDER: 0o40755, LINK: 0o120777, tarfile.FIFOTYPE: 0o10644}
            info.external_attr = modes.get(kind, 0o100644) << 16
            with warnings.catch_warnings(action="ignore"):  # of names that come twice
                zipped.writestr(info, content.encode() if kind in {FILE, LINK} else b"")
    return buffer.getvalue()


@pytest.fixture
def unpacked(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Extract an archive; return what is in the folder afterwards."""

    def run(content: bytes, limits: Limits = Limits()) -> dict[str, str]:  # noqa: B008
        (tmp_path / "archive").write_bytes(content)
        extract(tmp_path / "archive", tmp_path / "in", limits)
        return listed(tmp_path / "in")

    return run


def listed(folder: Path) -> dict[str, str]:
    """Return what is in a folder: contents of files, targets of links with an arrow, folders with a slash."""
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {os.readlink(path)}"
    return "/" if path.is_dir() else path.read_text()


WHOLE: list[Entry] = [
    ("model", FOLDER, ""),
    ("model/weights.bin", FILE, "weights"),
    ("model/deep/er/one.txt", FILE, "one"),
    ("/absolute.txt", FILE, "lands inside"),
    ("a/../beside.txt", FILE, "beside"),
    ("latest", LINK, "model/./weights.bin"),
    ("model/deep/up", LINK, "../weights.bin"),
    ("over", LINK, "model/deep/up"),
    ("dangling", LINK, "nothing/here"),
]
THERE = {
    "absolute.txt": "lands inside",
    "beside.txt": "beside",
    "dangling": "-> nothing/here",
    "latest": "-> model/./weights.bin",
    "model": "/",
    "model/deep": "/",
    "model/deep/er": "/",
    "model/deep/er/one.txt": "one",
    "model/deep/up": "-> ../weights.bin",
    "model/weights.bin": "weights",
    "over": "-> model/deep/up",
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_archive_of_every_compression(unpacked: Callable[..., object], pack: Callable[[bytes], bytes]) -> None:
    assert unpacked(pack(tar_of([*WHOLE, ("again", HARD, "model/weights.bin")]))) == {**THERE, "again": "weights"}


def test_a_zip_archive(unpacked: Callable[..., object]) -> None:
    assert unpacked(zip_of(WHOLE)) == THERE


def test_a_stream(tmp_path: Path) -> None:
    extract_tar(io.BytesIO(tar_of(WHOLE)), tmp_path / "in", Limits())
    assert listed(tmp_path / "in") == THERE


def test_files_keep_their_time_and_whether_they_run(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, mode in (("run.sh", 0o4777), ("data", 0o666)):
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = mode, 1_500_000_000
            tar.addfile(info)
    extract(tmp_path / "a.tar", tmp_path / "in")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "in").iterdir()}
    assert modes == {"run.sh": 0o755, "data": 0o644}
    assert {path.stat().st_mtime for path in (tmp_path / "in").iterdir()} == {1_500_000_000}


def test_a_member_that_comes_twice_is_the_last_one(unpacked: Callable[..., object]) -> None:
    twice: list[Entry] = [("a", FILE, "old"), ("b", LINK, "none"), ("a", FILE, "new"), ("b", FILE, "file")]
    assert unpacked(tar_of(twice)) == {"a": "new", "b": "file"}


REFUSED: dict[str, tuple[list[Entry], str]] = {
    "above": ([("../x", FILE, "")], "outside"),
    "above, behind a folder": ([("a/../../x", FILE, "")], "outside"),
    "a link above": ([("x", LINK, "..")], "leads outside"),
    "an absolute link": ([("x", LINK, "/etc/passwd")], "leads outside"),
    "a link by another, made before": ([("a/b/c", FOLDER, ""), ("s", LINK, "a/b"), ("x", LINK, "s/../../..")], "leads"),
    "a link by another, made after": ([("d/y", LINK, "x/../.."), ("d/x", LINK, ".."), ("n", FILE, "")], "leads"),
    "a link at a folder": ([("a", LINK, ".."), ("a/b", FILE, "")], "a link 'a' at the path of another"),
    "a loop of links": ([("a", LINK, "b"), ("b", LINK, "a")], "leads outside"),
    "a file through a link": ([("a", LINK, "b"), ("b", FOLDER, ""), ("a/x", FILE, "")], "'a'"),
    "a file where a folder is": ([("a/x", FILE, ""), ("a", FILE, "")], "'a'"),
    "a folder where a file is": ([("a", FILE, ""), ("a/x", FILE, "")], "'a'"),
    "a pipe": ([("a", tarfile.FIFOTYPE, "")], "neither a file"),
    "a name of 256 bytes": ([("x" * 256, FILE, "")], "name is too long"),
    "a path of 1,025 bytes": ([("/".join(["y" * 40] * 26), FILE, "")], "name is too long"),
    "a path of 65 folders": ([("/".join(["z"] * 65), FILE, "")], "name is too long"),
    "a target of 1,025 bytes": ([("x", LINK, "a/" * 513)], "too long"),
    "a target with a name of 256 bytes": ([("x", LINK, "nothing/" + "y" * 256)], "too long"),
    "the folder itself": ([(".", FILE, "")], "not a file name"),
}


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(unpacked: Callable[..., object], name: str, make: Callable[..., bytes]) -> None:
    entries, reason = REFUSED[name]
    with pytest.raises(ArchiveError, match=reason):
        unpacked(make(entries))


@pytest.mark.parametrize("target", ["none", "/etc/passwd", "../x", "later"])
def test_a_hard_link_to_what_is_not_before_it(unpacked: Callable[..., object], target: str) -> None:
    with pytest.raises(ArchiveError, match=r"not come before it|outside"):
        unpacked(tar_of([("x", HARD, target), ("later", FILE, "")]))


def test_a_file_that_was_there_before_stays(unpacked: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "score.py").write_text("mine")
    with pytest.raises(ArchiveError, match=r"'score\.py' at the path of another file"):
        unpacked(tar_of([("score.py", FILE, "theirs")]))
    assert (tmp_path / "in" / "score.py").read_text() == "mine"


def test_a_link_that_an_archive_before_made(unpacked: Callable[..., object], tmp_path: Path) -> None:
    """It leads inside until a link of another archive lies on its way."""
    unpacked(tar_of([("d/y", LINK, "x/../nothing")]))
    with pytest.raises(ArchiveError, match="leads outside"):
        unpacked(tar_of([("d/x", LINK, "..")]))
    assert not os.path.lexists(tmp_path / "in" / "d" / "x")


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_limits(unpacked: Callable[..., object], make: Callable[..., bytes]) -> None:
    few: list[Entry] = [(f"f{n}", FILE, "") for n in range(4)]
    unpacked(make(few), Limits(members=4))
    with pytest.raises(ArchiveError, match=r"3 members.*--unpack-members"):
        unpacked(make([(f"g{n}", FILE, "") for n in range(4)]), Limits(members=3))
    with pytest.raises(ArchiveError, match=r"100,000 bytes.*--unpack-bytes"):
        unpacked(make([("large", FILE, "x" * 100_001)]), Limits(bytes=100_000))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_the_ratio(tmp_path: Path, kind: str) -> None:
    count = 70 * 2**20
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("zeros", bytes(count))
    else:
        with tarfile.open(tmp_path / "a", "w:gz") as tar:
            info = tarfile.TarInfo("zeros")
            info.size = count
            tar.addfile(info, io.BytesIO(bytes(count)))
    with pytest.raises(ArchiveError, match=r"200 times.*ratio \(--unpack-ratio\)"):
        extract(tmp_path / "a", tmp_path / "in")
    extract(tmp_path / "a", tmp_path / "again", Limits(ratio=10**6))
    assert (tmp_path / "again" / "zeros").stat().st_size == count


def test_files_of_holes_and_second_names_count(unpacked: Callable[..., object]) -> None:
    """A header of half a kilobyte must not become 16 GiB, on this disk or wherever the folder is copied to."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("holes")
        info.pax_headers = {
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
            "GNU.sparse.size": str(2**34),
            "GNU.sparse.map": f"{2**34},0",
            "GNU.sparse.name": "holes",
        }
        tar.addfile(info)
    with pytest.raises(ArchiveError, match="--unpack-ratio"):
        unpacked(buffer.getvalue())
    names: list[Entry] = [("a", FILE, "x" * 1000), *[(f"b{n}", HARD, "a") for n in range(100)]]
    with pytest.raises(ArchiveError, match="--unpack-bytes"):
        unpacked(tar_of(names), Limits(bytes=99_000))


@pytest.mark.parametrize("name", ["GNU.sparse.size", "size"])
def test_a_negative_size_gives_nothing_back(unpacked: Callable[..., object], name: str) -> None:
    """A member that is said to be smaller than nothing must not make room for those behind it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("debt")
        info.pax_headers = {name: str(-(2**50)), "GNU.sparse.map": "0,0"}
        tar.addfile(info)
        info = tarfile.TarInfo("large")
        info.size = 10**6
        tar.addfile(info, io.BytesIO(b"x" * info.size))
    with pytest.raises(ArchiveError, match=r"negative|damaged"):
        unpacked(buffer.getvalue(), Limits(bytes=10**5))


def test_more_names_of_a_file_than_the_disk_can_give(
    unpacked: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many disks stop at 65,000, which is more than a test should make."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ArchiveError, match=r"'b'.*Too many links"):
        unpacked(tar_of([("a", FILE, ""), ("b", HARD, "a")]))


def _pax_header(size: int) -> bytes:
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _sparse_header_without_its_rest() -> bytes:
    info = tarfile.TarInfo("holes")
    info.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1  # it goes on in the next block
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _encrypted() -> bytes:
    data = bytearray(zip_of([("weights.bin", FILE, "1")]))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def _of_method(method: int) -> bytes:
    data = bytearray(zip_of([("weights.bin", FILE, "1")]))
    for mark, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        start = data.index(mark) + offset
        data[start : start + 2] = struct.pack("<H", method)
    return bytes(data)


def _stored(content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("a", content)
    return buffer.getvalue()


def _of_long_list() -> bytes:
    """Return the end of a zip archive whose list of files is all that is before it."""
    return b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 2**24 + 1, 0, 0)


def _records(count: int, size: int) -> bytes:
    """Return records of a PAX header, each of exactly `size` bytes."""
    made = [b"%d K%06d=" % (size, number) for number in range(count)]
    return b"".join(start + b"x" * (size - len(start) - 1) + b"\n" for start in made)


def _with_header(kind: bytes, content: bytes, times: int = 1, *, members: bool = False) -> bytes:
    """Return a tar archive with so many headers of a kind, before one member or before one member each."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, len(content)
    header = info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    member = tarfile.TarInfo("a").tobuf()
    return (header + member) * times if members else header * times + member


def _sparse(count: int) -> bytes:
    """Return a tar archive with a file of so many parts, all of them empty."""
    parts = ",".join(f"{number},0" for number in range(count))
    return _pax({"GNU.sparse.map": parts, "GNU.sparse.size": str(count), "GNU.sparse.name": "s"})


def _pax(headers: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("member")
        info.pax_headers = headers
        tar.addfile(info)
    return buffer.getvalue()


LONG_HEADERS: dict[str, tuple[bytes, str]] = {
    "of one member": (_with_header(tarfile.XHDTYPE, _records(1100, 1000)), "a member whose headers are longer"),
    "of one member, in parts": (_with_header(tarfile.XHDTYPE, _records(1, 100_000), 20), "headers are longer"),
    "a name": (_with_header(tarfile.GNUTYPE_LONGNAME, b"n" * 2**20), "headers are longer"),
    "a file of many parts": (_sparse(200_000), "headers are longer"),
    "of all members": (_with_header(tarfile.XGLTYPE, _records(80, 1000)), "for all of its members"),
    "of all members, in parts": (
        _with_header(tarfile.XGLTYPE, _records(1, 10_000), 10, members=True),
        "for all of its members",
    ),
    "chained": (_with_header(tarfile.XGLTYPE, _records(1, 20), 2000), "damaged|for all of its members"),
}


@pytest.mark.parametrize("name", LONG_HEADERS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_headers_are_bounded(unpacked: Callable[..., object], name: str, pack: Callable[[bytes], bytes]) -> None:
    """They are kept in memory and parsed slowly: 16 MiB of them took a minute."""
    content, reason = LONG_HEADERS[name]
    with pytest.raises(ArchiveError, match=reason):
        unpacked(pack(content))


@pytest.mark.parametrize(
    ("content", "there"),
    [
        (_with_header(tarfile.XGLTYPE, b"52 comment=" + b"a" * 40 + b"\n") + bytes(1024), {"a": ""}),  # git archive
        (_with_header(tarfile.XHDTYPE, _records(60, 1000)) + bytes(1024), {"a": ""}),  # extended attributes
        (_sparse(5000), {"s": "\0" * 5000}),  # a file of some thousand holes
    ],
)
def test_headers_that_tools_write_are_taken(
    unpacked: Callable[..., dict[str, str]], content: bytes, there: dict[str, str]
) -> None:
    assert unpacked(content) == there


DAMAGED: dict[str, tuple[bytes, str]] = {
    "text": (b"text", "is not a"),
    "nothing": (b"", "is not a"),
    "compressed text": (gzip.compress(b"text" * 1000), "damaged"),
    "encrypted": (_encrypted(), "encrypted.*weights"),
    "a method of the future": (_of_method(77), "damaged.*compression"),
    "a long header": (_pax_header(2**30), "header that is longer"),
    "a header cut between its blocks": (_sparse_header_without_its_rest(), "damaged"),
    "a name of a zip that is empty": (zip_of([("q", FILE, "1")]).replace(b"q", b"\0"), "damaged"),
    "a tar cut between members": (tar_of([("a", FILE, "1"), ("b", FILE, "2")])[:1024], "is truncated"),
    "a tar cut in a member": (tar_of([("a", FILE, "1" * 2000)])[:1200], "damaged"),
    "a gzip that was cut": (gzip.compress(tar_of([("a", FILE, "1")]))[:-20], "damaged"),
    "a zip that was cut": (zip_of([("a", FILE, "1")])[:-30], "is not a"),
    "a zip of wrong bytes": (_stored("1234").replace(b"1234", b"1235"), "damaged.*CRC"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_archives_are_reported_as_such(unpacked: Callable[..., object], name: str, tmp_path: Path) -> None:
    content, reason = DAMAGED[name]
    with pytest.raises(ArchiveError, match=reason) as caught:
        unpacked(content)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_list_of_files_that_does_not_fit_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("wb") as file:
        file.write(b"PK")
        file.truncate(2**24 + 1)
        file.seek(0, os.SEEK_END)
        file.write(_of_long_list())
    with pytest.raises(ArchiveError, match="list of files that is longer"):
        extract(tmp_path / "a.zip", tmp_path / "in")


PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", "é", "x" * 250, "y" * 260, "\udc80", "A", " ", "*"])
PATHS = st.lists(PARTS, min_size=1, max_size=6).map("/".join)
TARGETS = PATHS | PATHS.map("/".__add__) | st.just("../outside/victim.txt") | st.just("a/" * 2100 + "..")
KINDS = st.sampled_from([FILE, FILE, FILE, FOLDER, LINK, LINK, HARD, tarfile.FIFOTYPE])
ENTRIES = st.lists(st.tuples(PATHS, KINDS, TARGETS), max_size=8)
DAMAGE = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3)


def _hostile(entries: list[Entry], make: Callable[..., bytes]) -> bytes:
    clean = [(name, kind, content.encode(errors="replace").decode()) for name, kind, content in entries]
    if make is zip_of:
        clean = [(name.encode(errors="replace").decode(), kind, content) for name, kind, content in clean]
    return make(clean)


@settings(max_examples=150, deadline=None)
@given(
    archives=st.lists(st.tuples(ENTRIES, st.sampled_from([tar_of, zip_of]), DAMAGE), min_size=1, max_size=3),
    cut=st.none() | st.integers(1, 2000),
)
def test_nothing_is_ever_written_outside(
    archives: list[tuple[list[Entry], Callable[..., bytes], list[tuple[int, int]]]], cut: int | None
) -> None:
    """Whatever several archives have, extracted one over the other."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve()
        inside = base / "between" / "in"
        (base / "outside").mkdir()
        (base / "outside" / "victim.txt").write_text("victim")
        before = _outside(base, inside)
        for entries, make, damage in archives:
            content = bytearray(_hostile(entries, make))
            for place, value in damage:
                content[place % len(content)] = value
            (base / "archive").write_bytes(content[: cut and -cut])
            with _refusals() as refused:
                extract(base / "archive", inside, Limits(members=100, bytes=10**6))
            (base / "archive").unlink()
            assert _outside(base, inside) - {("between", "/")} == before
            if not refused:
                _assert_all_inside(inside)


class _refusals(list[ArchiveError]):
    """Notes an ArchiveError; any other error fails the test."""

    def __enter__(self) -> _refusals:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if isinstance(error, ArchiveError):
            self.append(error)
        return isinstance(error, ArchiveError)


def _outside(base: Path, inside: Path) -> set[tuple[str, str]]:
    return {(str(path.relative_to(base)), _content(path)) for path in _walk(base) if not path.is_relative_to(inside)}


def _walk(folder: Path) -> Iterator[Path]:
    for above, folders, files in os.walk(folder):
        yield from (Path(above, name) for name in (*folders, *files))


def _assert_all_inside(inside: Path) -> None:
    """Every name leads inside by the system's own reckoning."""
    for path in _walk(inside):
        assert stat.S_IFMT(path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
        if path.exists():
            assert path.resolve(strict=True).is_relative_to(inside)
