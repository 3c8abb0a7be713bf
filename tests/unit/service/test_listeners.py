"""Listening sockets without replicas: connections are noticed without polling."""

from __future__ import annotations

import contextlib
import queue
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlmgmt_nb.service.compute.listeners import Listeners

SECONDS = 10


@pytest.fixture
def changes() -> queue.SimpleQueue[None]:
    return queue.SimpleQueue()


@pytest.fixture
def listeners(changes: queue.SimpleQueue[None]) -> Iterator[Listeners]:
    found = Listeners("127.0.0.1", (20000, 29999), lambda: changes.put(None))
    yield found
    found.close_all()


def test_a_connection_is_reported_once_for_each_look(listeners: Listeners, changes: queue.SimpleQueue[None]) -> None:
    port = listeners.open("s", None)
    listeners.open("other", None)
    assert not listeners.has_pending_connection("s")
    assert not listeners.has_pending_connection("other")
    with socket.create_connection(("127.0.0.1", port)):
        changes.get(timeout=SECONDS)
        assert listeners.connected() == {"s"}
        assert listeners.connected() == set()
        assert listeners.has_pending_connection("s"), "it waits until somebody accepts it"
        assert changes.empty()


def test_a_connection_that_came_before_the_look_is_found(listeners: Listeners) -> None:
    port = listeners.open("s", None)
    with socket.create_connection(("127.0.0.1", port)):
        while not listeners.has_pending_connection("s"):
            pass


def test_refused_services_are_watched_again(listeners: Listeners, changes: queue.SimpleQueue[None]) -> None:
    port = listeners.open("s", None)
    listeners.refuse("s", "there is none")
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as asking:
            while listeners.connected() != {"s"}:
                changes.get(timeout=SECONDS)
            listeners.refuse("s", "there is none")
            asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert asking.recv(4096).startswith(b"HTTP/1.1 503 ")


def test_more_callers_than_are_refused_at_once_are_all_answered(
    listeners: Listeners, changes: queue.SimpleQueue[None]
) -> None:
    port = listeners.open("s", None)
    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as asking:
            asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
            answers.put(asking.recv(4096))

    callers = [threading.Thread(target=ask) for _ in range(150)]
    for caller in callers:
        caller.start()
    listeners.refuse("s", "there is none")
    heard: list[bytes] = []
    while len(heard) < len(callers):
        with contextlib.suppress(queue.Empty):
            heard.append(answers.get(timeout=0.05))
        if not changes.empty():
            changes.get()
            listeners.refuse("s", "there is none")
    assert {answer[:13] for answer in heard} == {b"HTTP/1.1 503 "}


def test_a_closed_service_is_not_watched(listeners: Listeners, changes: queue.SimpleQueue[None]) -> None:
    port = listeners.open("s", None)
    assert not listeners.has_pending_connection("s")
    listeners.close("s")
    listeners.open("s", port)
    assert not listeners.has_pending_connection("s")
    with socket.create_connection(("127.0.0.1", port)):
        changes.get(timeout=SECONDS)
    assert listeners.connected() == {"s"}


def test_several_computes_close_the_sockets_at_the_same_time() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns often
    try:
        for _ in range(20):
            _close_from_several_threads()
    finally:
        sys.setswitchinterval(interval)


def _close_from_several_threads() -> None:
    listeners = Listeners("127.0.0.1", (20000, 29999), lambda: None)
    for number in range(10):
        listeners.open(f"s{number}", None)
    bound = [listeners.private(f"s{number % 10}", f"d{number}") for number in range(300)]
    start = threading.Barrier(4)

    def close_all() -> None:
        start.wait(SECONDS)
        listeners.close_all()

    with ThreadPoolExecutor(start.parties) as pool:
        closing = [pool.submit(close_all) for _ in range(start.parties)]
    for closed in closing:
        closed.result()  # raises what the thread raised
    assert all(each.fileno() == -1 for each in bound)
