"""Measure two replicas beside one, and after one of them was killed and replaced.

Run it with `python -m tests.benchmarks.replicas`. The driver waits instead of computing, so that the processors of the
machine do not limit the rate. The first ratio is that of two replicas to one, with callers that keep connections: 2.0
at best, the target is 1.8; the next one is the same for callers with a new connection for each request. After the kill
all connections are at the other replica; the last ratio is that of the rates after it and before it: 1.0 if both
replicas work, 0.5 if one does.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import requests

from mlmgmt_nb import connect, local
from tests.benchmarks.table import show

DRIVERS = {
    "undecorated": "import time\ndef init():\n    pass\n\ndef run(body):\n    time.sleep(0.02)\n    return 1\n",
    "@threaded(4)": "import time\nfrom mlmgmt_nb.scoring.threads import threaded\ndef init():\n    pass\n\n"
    "@threaded(4)\ndef run(body):\n    time.sleep(0.05)\n    return 1\n",
}
CALLERS = 16
BEFORE_SECONDS = 4.0


class Rates(NamedTuple):
    """Requests/s of one replica, of two, of two with new connections, and of two after one was killed and replaced."""

    one: float
    two: float
    new: float
    after: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of each load (default: %(default)s)")
    seconds = parser.parse_args().seconds
    rows = []
    for name, code in DRIVERS.items():
        rates = _rates(code, seconds)
        ratios = [rates.two / rates.one, rates.new, rates.new / rates.one, rates.after, rates.after / rates.two]
        rows.append([name, rates.one, rates.two, *ratios])
    columns = ["driver", "one", "two", "ratio", "new connections", "ratio", "after a kill", "ratio"]
    show(f"Requests/s of {CALLERS} callers", columns, rows)


def _rates(code: str, seconds: float) -> Rates:
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder) / "score.py"
        driver.write_text(code)
        model = Path(folder) / "model.bin"
        model.write_bytes(b"none")
        endpoint = local.ensure(Path(folder) / "home")
        try:
            workspace = connect(home=Path(folder) / "home")
            service = workspace.deploy("replicas", model=model, driver=driver, max_concurrent_requests=2 * CALLERS)
            key = str(workspace.services.keys(service).primary_key)
            url = workspace.services.get("replicas").scoring_uri or ""
            one = len(_load(url, key, BEFORE_SECONDS)) / BEFORE_SECONDS
            workspace.services.update(service, num_replicas=2)
            new = len(_load(url, key, BEFORE_SECONDS, keeps=False)) / BEFORE_SECONDS
            ended: list[float] = []

            def end_replica() -> None:
                time.sleep(BEFORE_SECONDS)
                ended.append(time.monotonic())
                children = psutil.Process(endpoint.pid).children()
                next(child for child in children if child.cwd().endswith("/app")).kill()

            began = time.monotonic()
            ending = threading.Thread(target=end_replica)
            ending.start()
            times = _load(url, key, seconds)
            ending.join()
        finally:
            local.stop(Path(folder) / "home")
    before = ended[0] - began
    return Rates(one, sum(t < before for t in times) / before, new, sum(t > seconds - 4 for t in times) / 4)


def _load(url: str, key: str, seconds: float, *, keeps: bool = True) -> list[float]:
    """Return when each request was answered.

    Args:
        keeps: whether callers keep their connections.
    """
    began = time.monotonic()
    times: list[float] = []

    def call() -> None:
        with requests.Session() as session:
            while time.monotonic() - began < seconds:
                try:
                    answer = session.post(url, data="1", headers={"Authorization": f"Bearer {key}"}, timeout=30)
                except requests.ConnectionError:  # the replica that is killed
                    continue
                assert answer.status_code == 200, answer.text
                if not keeps:
                    session.close()
                times.append(time.monotonic() - began)

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return times


if __name__ == "__main__":
    main()
