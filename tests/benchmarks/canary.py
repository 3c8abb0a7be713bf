"""Measure a canary and a mirror: exact shares, failed requests at transitions, and what a service without them pays.

Run it with `python -m tests.benchmarks.canary`. Four callers keep their connections all the time, while a candidate
gets 5, 25, 50 and 100 % of the requests, is promoted, and a slow one is taken back by itself. The figures are shares
over so many requests, failures, and CPU seconds of the whole process tree for 1,000 requests.
"""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mlmgmt_nb import connect, local
from mlmgmt_nb.client import Workspace
from tests.benchmarks.scoring_load import run_load
from tests.benchmarks.table import show

CALLERS = 4
SETTLE_SECONDS = 5.0
"""From a change until its connections have moved to where it leads them."""
REQUESTS = {5: 20_000, 25: 5_000, 50: 5_000, 100: 2_000}
DRIVER = """\
import time

def init():
    pass

def run(body):
    time.sleep({seconds})
    return {word!r}
"""


class Callers:
    """Programs that call a service all the time."""

    def __init__(self, uri: str, key: str) -> None:
        self._parts = urlsplit(uri)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._done = False
        self._said: list[Counter[str]] = [Counter() for _ in range(CALLERS)]
        self._threads = [threading.Thread(target=self._call, args=(said,)) for said in self._said]
        for thread in self._threads:
            thread.start()

    def _call(self, said: Counter[str]) -> None:
        connection = http.client.HTTPConnection(self._parts.hostname or "", self._parts.port or 0, timeout=60)
        while not self._done:
            try:
                connection.request("POST", self._parts.path, b"1", self._headers)
                answer = connection.getresponse()
                text = answer.read().decode()
                said[text.strip('"') if answer.status == 200 else "failed"] += 1
            except OSError:
                said["failed"] += 1
                connection.close()

    def total(self) -> Counter[str]:
        return sum(self._said, Counter())

    def next(self, number: int) -> Counter[str]:
        """Return the answers of the next calls."""
        before = self.total()
        while (self.total() - before).total() < number:
            time.sleep(0.02)
        return self.total() - before

    def wait(self, words: set[str]) -> None:
        """Wait until exactly these words are answered."""
        while set(self.next(100)) - {"failed"} != words:
            pass

    def stop(self) -> None:
        self._done = True
        for thread in self._threads:
            thread.join()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        endpoint = local.ensure(home)
        try:
            workspace = connect(home=home)
            images = {}
            for word, seconds in (("old", 0.0), ("new", 0.0), ("slow", 0.05)):
                driver = Path(folder) / word / "score.py"
                driver.parent.mkdir()
                driver.write_text(DRIVER.format(word=word, seconds=seconds))
                images[word] = workspace.deploy(f"{word}-image", driver=driver).image
                if word != "old":
                    workspace.services.delete(f"{word}-image")
            _costs(workspace, endpoint.pid, images["new"])
            _shares(workspace, images)
        finally:
            local.stop(home)


def _costs(workspace: Workspace, pid: int, new: object) -> None:
    services = workspace.services
    service = services.get("old-image")
    parts = urlsplit(service.scoring_uri or "")
    headers = f"Authorization: Bearer {services.keys(service).primary_key}\r\n"

    def measured(label: str) -> list[object]:
        load = min(
            (run_load(pid, parts.port or 0, parts.path, b"1", seconds=3, headers=headers) for _ in range(3)),
            key=lambda one: one.cpu_per_1000,
        )
        return [label, load.cpu_per_1000, load.p50_ms, load.failures]

    rows = [measured("none")]
    change = services.propose("old-image", image=new)  # type: ignore[arg-type]
    rows.append(measured("a candidate"))
    change.mirror(minutes=60, requests=100_000)
    time.sleep(SETTLE_SECONDS)
    rows.append(measured("a mirror of all requests"))
    mirror = change.stop_mirror().refresh().candidate.mirror
    time.sleep(SETTLE_SECONDS)
    change.canary(5, max_p95=None)
    time.sleep(SETTLE_SECONDS)
    rows.append(measured("a canary of 5 %"))
    change.stop_canary()
    change.discard()
    time.sleep(SETTLE_SECONDS)
    rows.append(measured("none again"))
    show("A service with", ["", "CPU s/1000", "p50 ms", "failed"], rows)
    if mirror is not None:
        print(f"the mirror: {mirror.pairs:,} copies, {mirror.dropped:,} dropped")


def _shares(workspace: Workspace, images: Mapping[str, object]) -> None:
    services = workspace.services
    callers = Callers(services.get("old-image").scoring_uri or "", services.keys("old-image").primary_key or "")
    rows: list[list[object]] = []
    try:
        change = services.propose("old-image", image=images["new"])  # type: ignore[arg-type]
        for percent, number in REQUESTS.items():
            change.canary(percent, max_p95=None)
            callers.wait({"old", "new"} if percent < 100 else {"new"})
            said = callers.next(number)
            rows.append([f"{percent} %", said.total(), 100 * said["new"] / said.total(), said["failed"]])
        change.promote().result()
        said = callers.next(1_000)
        rows.append(["promoted", said.total(), 100 * said["new"] / said.total(), said["failed"]])
        change = services.propose("old-image", image=images["slow"])  # type: ignore[arg-type]
        change.canary(25)
        while change.refresh().candidate.canary.state != "TakenBack":  # type: ignore[union-attr]
            time.sleep(0.1)
        callers.wait({"new"})
        print(change.candidate.canary.reason)  # type: ignore[union-attr]
        said = callers.next(1_000)
        rows.append(["taken back", said.total(), 100 * said["slow"] / said.total(), said["failed"]])
    finally:
        callers.stop()
    total = callers.total()
    rows.append(["all", total.total(), "", total["failed"]])
    show("A canary", ["share", "requests", "share of answers, %", "failed"], rows)


if __name__ == "__main__":
    main()
