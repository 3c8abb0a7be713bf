"""A copy of the runtime is ready for the next image: always that of now, and of no other image."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from mlmgmt_nb.scoring import distribution
from mlmgmt_nb.scoring.distribution import runtime_files
from mlmgmt_nb.service.files import runtime_copies
from mlmgmt_nb.service.files.runtime_copies import RuntimeCopies


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the package in a folder that a test can change."""
    folder = tmp_path / "mlmgmt_nb"
    (folder / "scoring" / "http").mkdir(parents=True)
    for name in ("__init__.py", "scoring/__init__.py", "scoring/http/protocol.py"):
        (folder / name).write_text(f"# {name}")
    monkeypatch.setattr(distribution, "_SOURCE", folder)
    return folder


@pytest.fixture
def copies(tmp_path: Path) -> RuntimeCopies:
    return RuntimeCopies(tmp_path / "scratch" / "next-runtime")


def test_the_one_that_was_prepared_is_moved(installed: Path, copies: RuntimeCopies, tmp_path: Path) -> None:
    copies.prepare()
    waiting = tmp_path / "scratch" / "next-runtime"
    inode = waiting.stat().st_ino
    copies.prepare()
    assert waiting.stat().st_ino == inode, "one is enough"
    for image in ("first", "second"):
        copies.move_to(tmp_path / image)
        assert runtime_files(tmp_path / image) == runtime_files() != []
    assert (tmp_path / "first").stat().st_ino == inode
    assert not waiting.exists()
    protocol = Path("mlmgmt_nb/scoring/http/protocol.py")
    (tmp_path / "first" / protocol).write_text("changed")
    assert (tmp_path / "second" / protocol).read_text() == "# scoring/http/protocol.py"
    copies.prepare()
    assert runtime_files(waiting) == runtime_files()


def test_byte_code_that_another_process_is_writing_is_left_out(
    installed: Path, copies: RuntimeCopies, tmp_path: Path
) -> None:
    """Its file is renamed when it is complete, possibly between the listing of the folder and the copy."""
    cache = installed / "scoring" / "__pycache__"
    cache.mkdir()
    (cache / "errors.cpython-311.pyc").write_bytes(b"complete")
    (cache / "protocol.cpython-311.pyc.140234866").symlink_to("gone")  # listed, and not there
    copies.move_to(tmp_path / "image")
    copied = tmp_path / "image" / "mlmgmt_nb" / "scoring" / "__pycache__"
    assert [file.name for file in copied.iterdir()] == ["errors.cpython-311.pyc"]


@pytest.mark.parametrize("name", ["__init__.py", "scoring/http/protocol.py"])
def test_a_new_version_is_copied_anew(installed: Path, copies: RuntimeCopies, tmp_path: Path, name: str) -> None:
    copies.prepare()
    (installed / name).write_text("# upgraded")
    copies.move_to(tmp_path / "image")
    assert (tmp_path / "image" / "mlmgmt_nb" / name).read_text() == "# upgraded"
    copies.prepare()
    copies.move_to(tmp_path / "later")
    assert (tmp_path / "later" / "mlmgmt_nb" / name).read_text() == "# upgraded"


def test_one_that_a_user_deletes_or_changes_is_not_used(installed: Path, copies: RuntimeCopies, tmp_path: Path) -> None:
    copies.prepare()
    shutil.rmtree(tmp_path / "scratch")
    copies.move_to(tmp_path / "first")
    copies.prepare()
    (tmp_path / "scratch" / "next-runtime" / "mlmgmt_nb" / "scoring" / "__init__.py").write_text("changed")
    copies.move_to(tmp_path / "second")
    assert runtime_files(tmp_path / "first") == runtime_files(tmp_path / "second") == runtime_files()


def test_a_disk_without_room_is_tried_once_for_each_image(
    installed: Path, copies: RuntimeCopies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Path] = []

    def full(folder: Path) -> None:
        tries.append(folder)
        (folder / "mlmgmt_nb").mkdir(parents=True)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    waiting = tmp_path / "scratch" / "next-runtime"
    with monkeypatch.context() as patched:
        patched.setattr(runtime_copies, "copy_runtime", full)
        with pytest.raises(OSError, match="No space"):
            copies.prepare()
        copies.prepare()
    assert tries == [waiting]
    assert not waiting.exists(), "it would take the room of others"
    copies.move_to(tmp_path / "image")
    copies.prepare()
    assert runtime_files(tmp_path / "image") == runtime_files(waiting) == runtime_files()


def test_images_may_be_on_another_file_system(
    installed: Path, copies: RuntimeCopies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path), None, str(target))

    copies.prepare()
    monkeypatch.setattr(Path, "rename", refused)
    copies.move_to(tmp_path / "image")
    assert runtime_files(tmp_path / "image") == runtime_files()


def test_the_first_file_without_room_ends_a_copy(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is that of the disk, so that a build can tell that the disk is full."""
    tries: list[str] = []

    def full(source: str, target: Path) -> None:
        tries.append(source)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(OSError, match="No space") as raised:
        distribution.copy_runtime(tmp_path / "image")
    assert raised.value.errno == errno.ENOSPC
    assert len(tries) == 1


def test_an_image_waits_for_the_one_that_is_being_made(
    installed: Path, copies: RuntimeCopies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    made: list[Path] = []
    copy = distribution.copy_runtime

    def slow(folder: Path) -> None:
        made.append(folder)
        begun.set()
        assert go_on.wait(30)
        copy(folder)

    monkeypatch.setattr(runtime_copies, "copy_runtime", slow)
    preparing = threading.Thread(target=copies.prepare)
    preparing.start()
    assert begun.wait(30)
    copies.prepare()  # by another builder: it does not wait
    moving = threading.Thread(target=copies.move_to, args=[tmp_path / "image"])
    moving.start()
    go_on.set()
    for thread in (preparing, moving):
        thread.join(30)
    assert runtime_files(tmp_path / "image") == runtime_files()
    assert made == [tmp_path / "scratch" / "next-runtime"]
