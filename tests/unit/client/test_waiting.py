"""Waits that an interrupt ends, also one that does not wake them."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from mlmgmt_nb.client.waiting import wait_for


def test_it_tells_whether_the_event_is_set() -> None:
    event = threading.Event()
    assert wait_for(event, 0) is False
    assert wait_for(event, 0.7) is False
    threading.Timer(0.7, event.set).start()
    assert wait_for(event, 60) is True
    assert wait_for(event, None) is True
    assert wait_for(event, -1) is True


def test_an_interrupt_that_another_thread_gets_ends_it() -> None:
    event = threading.Event()
    sleeper = threading.Thread(target=event.wait)
    sleeper.start()

    def interrupt() -> None:
        time.sleep(0.1)  # until the main thread waits; when it does not yet, the interrupt only comes sooner
        assert sleeper.ident is not None
        signal.pthread_kill(sleeper.ident, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_for(event, None)
    finally:
        event.set()
        interrupter.join()
        sleeper.join()
