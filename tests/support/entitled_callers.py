"""Threads that call a service continuously, and check that only the expected versions respond."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import requests

from tests.support.waiting import eventually

__all__ = ["CALLERS", "Answer", "Callers", "parsed"]

CALLERS = 2
SETTLED = 60
"""Number of successive correct responses after which a change counts as complete: many times the distance between two
responses of the deployment with the smaller share.
"""
_ANSWER = re.compile(r"(v\d+(?:-bad)?) (\d+)")


class Answer(NamedTuple):
    """A response to a caller: the version and the process that responded, or the text of a failure."""

    version: str
    process: int
    failure: str = ""


def parsed(answer: requests.Response) -> Answer:
    found = _ANSWER.search(answer.text)
    return Answer(found[1], int(found[2])) if found else Answer("", 0, f"{answer.status_code} {answer.text}")


class Callers:
    """Threads that call a service continuously, each on a persistent connection.

    Attributes:
        entitled: versions that may respond now.
        may_fail: whether calls may fail now, because the service crashed or does not exist.
        wrong: unexpected responses and failures.
        processes: all processes that have responded.
    """

    def __init__(self) -> None:
        self.entitled: frozenset[str] = frozenset()
        self.may_fail = True
        self.wrong: list[str] = []
        self.processes: set[int] = set()
        self._target: tuple[str, str] | None = None
        self._lock = threading.Lock()
        self._recent: deque[Answer] = deque(maxlen=SETTLED)
        self._counts: Counter[str] = Counter()
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._calls = [self._pool.submit(self._call) for _ in range(CALLERS)]

    def turn_to(self, uri: str, key: str) -> None:
        """Call this service from now on."""
        self._target = (uri, key)

    def _call(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._done.is_set():
                if self._target is None:
                    time.sleep(0.01)  # no service to call yet
                    continue
                uri, key = self._target
                before, could_fail = self.entitled, self.may_fail
                try:
                    answer = parsed(session.post(uri, data="1", headers={"authorization": f"Bearer {key}"}, timeout=30))
                except requests.RequestException as error:
                    answer = Answer("", 0, str(error))
                self._add(answer, before | self.entitled, may_fail=could_fail or self.may_fail)
                if answer.failure:
                    time.sleep(0.02)  # calls may fail immediately: do not flood the service

    def _add(self, answer: Answer, allowed: frozenset[str], *, may_fail: bool) -> None:
        with self._lock:
            self._recent.append(answer)
            self._counts[answer.version] += 1
            self.processes.add(answer.process)
            if answer.failure and not may_fail:
                self.wrong.append(answer.failure)
            elif answer.version and answer.version not in allowed:
                self.wrong.append(f"{answer.version} answered instead of {sorted(allowed)}")

    def settle(self, entitled: frozenset[str]) -> None:
        """Wait until only these versions respond. From then on, other versions and failed calls count as wrong."""
        with self._lock:
            self._recent.clear()

        def are_right() -> bool:
            with self._lock:
                return len(self._recent) == SETTLED and {one.version for one in self._recent} <= entitled

        eventually(are_right, what=f"the end of all answers but those of {sorted(entitled)}")
        self.entitled, self.may_fail = entitled, False

    def newest(self) -> list[Answer]:
        """Return the newest responses."""
        with self._lock:
            return list(self._recent)[-10:]

    def count(self, number: int) -> Counter[str]:
        """Return the versions of the next responses, counted."""
        with self._lock:
            self._counts.clear()
        eventually(lambda: self._counts.total() >= number, what="further answers")
        with self._lock:
            return Counter(self._counts)

    def stop(self) -> None:
        self._done.set()
        self._pool.shutdown()
        for call in self._calls:
            call.result()
