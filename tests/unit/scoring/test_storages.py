"""Storages of collected data that are no folder: those that fsspec knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from mlmgmt_nb.scoring.collection.storages import open_storage


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/collected", recursive=True)


def test_each_process_has_files_of_its_own(memory: Any) -> None:
    one, two = open_storage("memory://collected"), open_storage("memory://collected")
    for number in range(3):
        for storage in (one, two):
            storage.append("modeldata/a", ["x", "y"], f"{number},0\n")
            storage.append("modeldata/b", ["x"], f"{number}\n")
    tables = sorted((path.rpartition("/")[0], memory.cat_file(path)) for path in memory.find("/collected"))
    assert (
        tables
        == [("/collected/modeldata/a", b"x,y\n0,0\n1,0\n2,0\n")] * 2 + [("/collected/modeldata/b", b"x\n0\n1\n2\n")] * 2
    )


def test_rows_of_another_shape(memory: Any) -> None:
    storage = open_storage("memory://collected")
    for number in range(2):
        storage.append("modeldata/a", ["x", "y"], f"{number},0\n")
        storage.append("modeldata/a", ["z"], f"{number}\n")
    tables = sorted(memory.cat_file(path) for path in memory.find("/collected"))
    assert tables == [b"x,y\n0,0\n1,0\n", b"z\n0\n1\n"]


def test_a_store_that_cannot_append(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    open_file = memory.open

    def no_append(path: str, mode: str, **options: Any) -> Any:
        if mode == "ab":
            raise NotImplementedError
        return open_file(path, mode, **options)

    monkeypatch.setattr(type(memory), "open", lambda _, path, mode, **options: no_append(path, mode, **options))
    storage = open_storage("memory://collected")
    for number in range(3):
        storage.append("modeldata/a", ["x"], f"{number}\n")
    assert [memory.cat_file(path) for path in memory.find("/collected")] == [b"x\n0\n1\n2\n"]
