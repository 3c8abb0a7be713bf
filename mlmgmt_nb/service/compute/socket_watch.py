"""Watches listening sockets for their first connection without polling: one thread for any number of sockets."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable

__all__ = ["ConnectionWatch"]


class ConnectionWatch:
    """Reports sockets at which a connection waits, once each until they are armed again.

    Args:
        on_connection: called with the key of a socket, in the watch thread. It must be fast.
    """

    def __init__(self, on_connection: Callable[[str], None]) -> None:
        self._on_connection = on_connection
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._armed: dict[str, socket.socket] = {}
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None

    def arm(self, key: str, listener: socket.socket) -> None:
        """Watch a socket until it has a connection or is disarmed. An armed socket stays armed."""
        with self._lock:
            if key in self._armed:
                return
            self._armed[key] = listener
            self._selector.register(listener, selectors.EVENT_READ, key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="connection-watch", daemon=True)
                self._thread.start()
        # Some selectors do not notice a socket that is added while they wait.
        self._wake()

    def is_armed(self, key: str) -> bool:
        """Return whether a socket is watched, which means that no connection has arrived since it was armed."""
        return key in self._armed

    def disarm(self, key: str) -> None:
        """Stop watching a socket. Call it before the socket is closed."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: str) -> bool:
        listener = self._armed.pop(key, None)
        if listener is not None:
            self._selector.unregister(listener)
        return listener is not None

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full, which is enough to wake the thread
            os.write(self._wake_writer, b"w")

    def _run(self) -> None:
        while True:
            for found, _ in self._selector.select():
                if found.fd == self._wake_reader:
                    os.read(self._wake_reader, 4096)
                    continue
                with self._lock:
                    was_armed = self._remove(found.data)
                if was_armed:
                    self._on_connection(found.data)
