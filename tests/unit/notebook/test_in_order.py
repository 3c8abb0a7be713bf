"""Messages from the frontend of a panel: in the order in which they were sent, whatever thread gets them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mlmgmt_nb.notebook.panels import in_order
from mlmgmt_nb.notebook.panels.in_order import InOrder
from tests.support.waiting import eventually


class Panel:
    """A panel that notes its messages."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.receive = InOrder(lambda message: self.seen.append(message["do"]))

    def get(self, number: int, sender: str = "view") -> None:
        self.receive({"message": {"do": f"{sender} {number}"}, "sender": sender, "number": number})


@pytest.fixture
def panel() -> Panel:
    return Panel()


def test_a_thread_that_is_faster_waits_for_the_other(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it happens when JupyterLab has just created a subshell."""
    monkeypatch.setattr(in_order, "_WAIT_SECONDS", 60.0)
    panel.get(0)
    subshell = threading.Thread(target=panel.get, args=[2])
    subshell.start()
    subshell.join()
    assert panel.seen == ["view 0"]
    panel.get(1)
    assert panel.seen == ["view 0", "view 1", "view 2"]
    panel.get(3)
    assert panel.seen[-1] == "view 3"


def test_views_do_not_wait_for_each_other(panel: Panel) -> None:
    panel.get(0, "first")
    panel.get(2, "first")
    panel.get(0, "second")
    assert panel.seen == ["first 0", "second 0"]


def test_a_message_that_a_running_cell_holds_up_delays_the_others_only_for_a_moment(panel: Panel) -> None:
    panel.get(0)
    panel.get(3)
    panel.get(2)
    eventually(lambda: len(panel.seen) == 3, what="the end of the waiting")
    assert panel.seen == ["view 0", "view 2", "view 3"]
    panel.get(4)
    assert panel.seen[-1] == "view 4", "there is nothing more to wait for"
    panel.get(1)
    assert panel.seen[-1] == "view 1", "no message is lost"
    panel.get(5)
    assert panel.seen[-1] == "view 5"


def test_a_message_that_fails_does_not_hold_up_the_next() -> None:
    seen: list[Any] = []

    def fail_first(message: dict[str, Any]) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise ValueError("of the panel")

    receive = InOrder(fail_first)
    with pytest.raises(ValueError, match="of the panel"):
        receive({"message": {}, "sender": "view", "number": 0})
    receive({"message": {}, "sender": "view", "number": 1})
    assert len(seen) == 2
