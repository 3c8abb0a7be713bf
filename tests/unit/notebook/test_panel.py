"""What all panels have in common, without a notebook: when they draw, what they do with work and its errors."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.errors import ServiceStoppedError, UsageError
from mlmgmt_nb.notebook.display.html import ErrorText, alert, link, progress_bar, table
from mlmgmt_nb.notebook.panels.panel import Panel
from mlmgmt_nb.notebook.panels.refresh import RefreshThread
from mlmgmt_nb.notebook.panels.worker import Worker
from tests.support.waiting import eventually


class Handle:
    """Notes what is displayed."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []

    def display(self, shown: dict[str, Any], raw: bool) -> None:
        self.shown.append(shown)

    update = display


class Kernel:
    """A shell with a kernel, as far as a panel looks."""

    kernel = None

    def __init__(self) -> None:
        self.at_end: Callable[[Any], None] = lambda _: None
        self.events = self

    def register(self, _: str, callback: Callable[[Any], None]) -> None:
        self.at_end = callback


class Counter(Panel):
    """Counts, and notes each drawing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.number = 0
        self.drawn: list[int] = []
        self.looks: list[Callable[[], float | None]] = []
        self._picture_handle, self._widget_handle = Handle(), Handle()

    def text(self) -> str:
        return f"counted to {self.number}"

    def html(self) -> str:
        return f"<p>{self.text()}</p>"

    def build(self) -> Any:
        import ipywidgets

        return ipywidgets.Label()

    def draw(self) -> None:
        self.drawn.append(self.number)

    def look(self) -> float | None:
        return self.looks.pop()() if self.looks else None

    def add(self) -> None:
        with self.lock:
            self.number += 1
        self.changed()

    @property
    def pictures(self) -> list[str]:
        """The texts of the pictures, without the line that says when they were drawn."""
        return [shown["text/plain"].rpartition("\nAs of ")[0] for shown in self._picture_handle.shown]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr("mlmgmt_nb.notebook.panels.panel.get_ipython", lambda: kernel)
    return kernel


def test_many_changes_are_few_drawings_and_the_last_is_drawn(kernel: Kernel) -> None:
    panel = Counter()
    panel.show()
    for _ in range(20_000):
        panel.add()
    eventually(lambda: panel.drawn[-1] == 20_000)
    eventually(lambda: panel.pictures[-1] == "counted to 20000")
    assert len(panel.drawn) < 500
    assert len(panel.pictures) < 50


def test_a_picture_says_when_it_was_drawn(kernel: Kernel) -> None:
    panel = Counter()
    panel.show()
    time = r"As of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\."
    for markup in panel._picture_handle.shown[0].values():
        assert re.search(rf"{time} Run the cell again for the panel\.", markup)
    panel.changed()
    panel.keep_picture()
    assert len(panel.pictures) == 1, "the time alone is not a change"
    panel.close()
    for markup in panel._picture_handle.shown[-1].values():
        assert re.search(rf"{time}(?! Run)", markup)


def test_the_picture_is_up_to_date_when_a_cell_ends(kernel: Kernel) -> None:
    panel = Counter(clock=lambda: 0.0, drawing=RefreshThread(clock=lambda: 0.0, name="never"))
    panel.show()
    panel._picture_due = 3600.0
    panel.add()
    assert panel.pictures == ["counted to 0"]
    kernel.at_end(None)
    assert panel.pictures == ["counted to 0", "counted to 1"]
    kernel.at_end(None)
    assert len(panel.pictures) == 2


def test_errors_of_work_and_looks_are_shown_and_go(kernel: Kernel) -> None:
    panel = Counter()

    def refuse() -> float | None:
        raise UsageError("it is <b>wrong</b>", fix="Do it right.")

    panel.looks.append(refuse)
    panel.show()
    eventually(lambda: panel.error == ErrorText("it is <b>wrong</b>", "Do it right."))
    eventually(lambda: panel.pictures[-1] == "counted to 0\nit is <b>wrong</b>\nDo it right.")
    assert "<b>it is &lt;b&gt;wrong&lt;/b&gt;</b><br>Do it right." in panel._picture_handle.shown[-1]["text/html"]
    panel._refresh.follow(panel._poll)
    eventually(lambda: panel.error is None)
    panel.do(lambda: panel.fail(None) if refuse() else None)
    eventually(lambda: panel.error and not panel.is_working)
    panel.do(panel.add)
    eventually(lambda: panel.error is None and panel.number == 1 and not panel.is_working)


def test_a_panel_recovers_when_the_service_was_started_elsewhere(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running: list[Path] = []
    monkeypatch.setattr("mlmgmt_nb.local.find", lambda home: home if home in running else None)
    monkeypatch.setattr("mlmgmt_nb.notebook.panels.panel._TROUBLE_SECONDS", 0.01)
    panel = Counter()
    panel.show()

    def work() -> None:
        raise ServiceStoppedError("it is stopped", home=tmp_path)

    panel.do(work)
    eventually(lambda: panel._start_button.layout.display == "" and panel.error)
    running.append(tmp_path)
    eventually(lambda: panel.error is None and panel._start_button.layout.display == "none")


def test_a_mistake_in_work_is_shown_too(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    panel = Counter()
    panel.show()
    panel.do(lambda: panel.missing)  # type: ignore[attr-defined]
    trouble = eventually(lambda: panel.error)
    assert trouble.what.startswith("AttributeError: ")
    assert "the work of a panel failed" in caplog.text


def test_what_is_closed_stays_as_it_is(kernel: Kernel) -> None:
    panel = Counter()
    panel.show()
    panel.add()
    panel.close()
    panel.close()
    assert panel.pictures[-1] == "counted to 1"
    assert panel._widget_handle.shown[-1] == {"text/plain": ""}
    assert "mlmgmt-live" not in panel._picture_handle.shown[-1]["text/html"]
    drawn = len(panel._picture_handle.shown)
    panel.add()
    assert panel._poll() is None
    panel.show()
    assert len(panel._picture_handle.shown) == drawn + 1


def test_nobody_is_asked_while_nobody_looks(kernel: Kernel) -> None:
    panel, looked = Counter(), threading.Event()
    panel.show()
    panel._root._view_count = 1
    panel._root._view_count = 0
    panel.looks.append(lambda: looked.set())
    assert panel._poll() is None
    assert panel.looks
    panel._root._view_count = 1
    assert looked.wait(30)


def test_in_a_terminal_it_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Counter().show()
    assert capsys.readouterr().out == "counted to 0\n"


def test_work_is_done_in_turn_by_a_thread_that_ends() -> None:
    worker, done = Worker(), list[int]()
    for number in range(100):
        worker.do(lambda number=number: done.append(number))  # type: ignore[misc]
    eventually(lambda: done == list(range(100)))
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "mlmgmt-panel-work"])


def test_markup_is_escaped() -> None:
    assert alert(ErrorText("<i>", "a\n<b>")) == (
        '<div role="alert" class="mlmgmt-alert"><b>&lt;i&gt;</b><br>a<br>&lt;b&gt;</div>'
    )
    assert link("javascript:alert(1)") == "javascript:alert(1)"
    assert "aria-valuenow" not in progress_bar("<x>", None)
    assert 'aria-label="&lt;x&gt;"' in progress_bar("<x>", 7.0)
    assert 'aria-valuenow="100"' in progress_bar("<x>", 7.0)
    assert "<td>&lt;td&gt;</td>" in table(["a"], [["<td>"]], label="t")
