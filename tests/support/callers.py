"""Threads that call a service continuously, and count its responses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.support.searches import thorough
from tests.support.waiting import eventually

__all__ = ["Callers"]

_PAUSE = thorough(in_ci=0, elsewhere=10) / 1000
"""Seconds between two calls of a thread, to leave CPU time for the change under test."""


class Callers:
    """Threads that call a service continuously at its URLs, each on a persistent connection."""

    def __init__(self, urls: Sequence[str], key: str, number: int = 4) -> None:
        self.body = "{}"
        self._key = key
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._said: Counter[str] = Counter()
        self.failed: list[str] = []
        self._pool = ThreadPoolExecutor(number)
        self._calls = [self._pool.submit(self._call, urls[index % len(urls)]) for index in range(number)]

    def _call(self, url: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._done.wait(_PAUSE):
                headers = {"authorization": f"Bearer {self._key}"}
                answer = session.post(url, data=self.body, headers=headers, timeout=30)
                with self._lock:
                    if answer.status_code == 200:
                        self._said[answer.text.strip('"')] += 1
                    else:
                        self.failed.append(answer.text)

    def count(self, number: int) -> Counter[str]:
        """Return the responses to the next calls, counted by text."""
        with self._lock:
            self._said.clear()

        def enough() -> bool:
            return self._said.total() >= number or any(call.done() for call in self._calls)

        eventually(enough, what="further answers")
        with self._lock:
            return Counter(self._said)

    def stop(self) -> None:
        self._done.set()
        self._pool.shutdown()
        for call in self._calls:
            call.result()
