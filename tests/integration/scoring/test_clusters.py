"""A replica that no supervisor of ours controls: keys from a mounted file, and the reason of a failure in another."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.kubernetes import free_port
from tests.support.waiting import eventually


def command(app: Path, *more: object) -> list[str]:
    return [sys.executable, "-m", "mlmgmt_nb.scoring", "--app", str(app), *map(str, more)]


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_keys_follow_their_file(drivers: Path, tmp_path: Path) -> None:
    """A damaged or missing file changes nothing: it admits nobody."""
    keys, port = tmp_path / "keys", free_port()
    keys.write_text(f"{digest('first')}\n{digest('second')}")
    started = command(drivers / "echo", "--port", port, "--keys-file", keys)
    with subprocess.Popen(started, stderr=subprocess.DEVNULL) as process:

        def status(key: str) -> int:
            try:
                headers = {"authorization": f"Bearer {key}"}
                url = f"http://127.0.0.1:{port}/api/v1/service/local/score"
                return requests.post(url, "1", headers=headers, timeout=30).status_code
            except requests.ConnectionError:
                return 0

        try:
            eventually(lambda: status("first") == 200, what="the first key")
            assert (status("second"), status("third"), status("")) == (200, 401, 401)
            keys.write_text("damaged")
            keys.unlink()
            keys.write_text(digest("third"))
            eventually(lambda: status("third") == 200, what="the third key")
            assert (status("first"), status("")) == (401, 401)
        finally:
            process.terminate()


@pytest.mark.parametrize("content", [None, "", "first\n", digest("first").upper()])
def test_a_replica_without_keys_does_not_start(drivers: Path, tmp_path: Path, content: str | None) -> None:
    keys = tmp_path / "keys"
    if content is not None:
        keys.write_text(content)
    started = command(drivers / "echo", "--keys-file", keys)
    done = subprocess.run(started, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert str(keys) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_reason_of_a_failure_is_in_its_file(drivers: Path, tmp_path: Path) -> None:
    reason = tmp_path / "termination-log"
    started = command(drivers / "crash_in_init", "--port", 0, "--failure-file", reason)
    assert subprocess.run(started, capture_output=True, timeout=60, check=False).returncode == 3
    told = json.loads(reason.read_text())
    assert told["code"] == "DriverInitError"
    assert "\n" not in told["message"]


def test_counters_are_at_a_port_of_their_own(drivers: Path) -> None:
    port, stats = free_port(), free_port()
    started = command(drivers / "echo", "--port", port, "--stats-port", stats, "--concurrency", 7)
    with subprocess.Popen(started, stderr=subprocess.DEVNULL) as process:

        def told() -> dict[str, Any]:
            try:
                return dict(requests.get(f"http://127.0.0.1:{stats}/", timeout=30).json())
            except requests.ConnectionError:
                return {}

        try:
            eventually(told, what="the counters")
            with socket.create_connection(("127.0.0.1", stats)) as hangs_up:
                hangs_up.sendall(b"GET")
            requests.post(f"http://127.0.0.1:{port}/api/v1/service/local/score", "1", timeout=30)
            counted = told()
            assert (counted["requests"], counted["limit"], counted["busy"]) == (1, 7, 0)
            assert sum(counted["latency"].values()) == 1
        finally:
            process.terminate()
