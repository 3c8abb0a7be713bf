"""The end of a service: nothing of it is left, whatever is still written and wherever the removal is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder

ID = "11111111-2222-3333-4444-555555555555"


def test_a_log_that_was_removed_stays_so(tmp_path: Path) -> None:
    """A replica that is just ending still writes to it."""
    log = Log(tmp_path / "log")
    assert log.line("first")
    log.remove()
    assert not log.line("late")
    assert list(tmp_path.iterdir()) == []


class Interrupted:
    """In the place of the store: the process ends before the row is removed."""

    @contextmanager
    def writing(self) -> Iterator[Any]:
        raise InterruptedError
        yield


class Recordings:
    """In the place of the recorded requests."""

    def remove(self, service_id: str) -> None:
        raise AssertionError(f"those of {service_id} are removed after its row")


def test_the_row_is_removed_last(tmp_path: Path) -> None:
    """As long as it is there, the removal is repeated after a crash."""
    home = Home(tmp_path / "home")
    store: Any = Interrupted()
    recordings: Any = Recordings()
    recorder = ServiceRecorder(store, home, recordings, lambda _: None)
    recorder.log(ID).line("a line")
    home.mirrors.mkdir(parents=True, exist_ok=True)
    (home.mirrors / ID).write_bytes(b"pairs")
    with pytest.raises(InterruptedError):
        recorder.remove(ID)
    assert [str(path) for path in home.path.rglob(f"*{ID}*")] == []
