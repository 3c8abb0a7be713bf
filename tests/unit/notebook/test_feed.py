"""The thread that ticks the panels."""

from __future__ import annotations

import itertools
import logging
import threading

import pytest

from mlmgmt_nb.notebook.panels.refresh import RefreshThread
from tests.support.waiting import eventually


class Panel:
    """Ticks so often, then has nothing to show any more."""

    def __init__(self, times: int, pause: float = 0.0) -> None:
        self.left, self.pause, self.threads = times, pause, set[str]()

    def tick(self) -> float | None:
        self.threads.add(threading.current_thread().name)
        self.left -= 1
        return self.pause if self.left else None


def living() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mlmgmt-panels"]


def test_one_thread_ticks_all_and_ends_with_the_last() -> None:
    feed, panels = RefreshThread(), [Panel(3), Panel(5)]
    for panel in panels:
        feed.follow(panel.tick)
    eventually(lambda: [panel.left for panel in panels] == [0, 0])
    assert all(panel.threads == {"mlmgmt-panels"} for panel in panels)
    eventually(lambda: not living(), what="the end of the thread")
    again = Panel(1)
    feed.follow(again.tick)
    eventually(lambda: again.left == 0)


def test_many_panels_are_updated_less_often() -> None:
    used = itertools.count(step=0.001)  # a millisecond for each tick
    for number, pause in ((1, 0.25), (10, 1.0), (1000, 30.0)):
        feed = RefreshThread(clock=lambda: 0.0, used=lambda: next(used))
        panels = [Panel(2, pause=0.25) for _ in range(number)]
        for panel in panels:
            feed.follow(panel.tick)
        eventually(lambda made=panels: all(panel.left == 1 for panel in made))  # type: ignore[misc]
        eventually(lambda feed=feed: max(feed._due.values()) < 1e9)  # type: ignore[misc]
        assert max(feed._due.values()) == pytest.approx(pause)
        for panel in panels:
            feed.follow(panel.tick)
        eventually(lambda: not living())


def test_following_again_ticks_now() -> None:
    feed, panel = RefreshThread(), Panel(2, pause=3600.0)
    feed.follow(panel.tick)
    eventually(lambda: panel.left == 1)
    feed.follow(panel.tick)
    eventually(lambda: panel.left == 0)
    eventually(lambda: not living())


def test_what_is_followed_while_it_ticks_is_ticked_once_more() -> None:
    feed, entered, leave = RefreshThread(), threading.Event(), threading.Event()
    ticks: list[int] = []

    def tick() -> float | None:
        ticks.append(1)
        entered.set()
        assert leave.wait(30)
        return 3600.0 if len(ticks) == 1 else None

    feed.follow(tick)
    assert entered.wait(30)
    feed.follow(tick)
    leave.set()
    eventually(lambda: len(ticks) == 2)
    eventually(lambda: not living())


def test_a_panel_that_fails_stops_alone(caplog: pytest.LogCaptureFixture) -> None:
    feed, panel = RefreshThread(), Panel(3)

    def fail() -> float | None:
        raise ValueError("a panel's mistake")

    with caplog.at_level(logging.ERROR):
        feed.follow(fail)
        feed.follow(panel.tick)
        eventually(lambda: panel.left == 0)
        eventually(lambda: not living())
    assert "a panel's mistake" in caplog.text


def test_what_is_asked_for_while_it_says_that_it_is_done_is_ticked_again() -> None:
    feed, ticks = RefreshThread(), list[int]()

    def tick() -> None:
        ticks.append(len(ticks))
        if len(ticks) == 1:
            feed.follow(tick)

    feed.follow(tick)
    eventually(lambda: len(ticks) == 2)
