"""The orderly stop of a service: neither slow clients nor early signals are in its way."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ServiceProcess
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    "part",
    [b"POST /api/subscr", b"%(post)bContent-Length: 500\r\n\r\n{", b"%(patch)bContent-Length: 1000000\r\n\r\nx"],
    ids=["head", "body", "upload"],
)
def test_a_client_without_progress_does_not_hold_the_stop(
    start_service: Callable[..., ServiceProcess], part: bytes
) -> None:
    api = start_service()
    url = urlsplit(api.base_url)
    head = f"Host: {url.netloc}\r\nAuthorization: Bearer {api.token}\r\nContent-Type: application/json\r\n"
    digest = hashlib.sha256(b"").hexdigest()
    upload = f"PATCH {url.path}/artifacts/sha256/{digest}?api-version=2017-09-01-preview HTTP/1.1\r\n{head}"
    heads = {
        b"post": f"POST {url.path}/models?api-version=2017-09-01-preview HTTP/1.1\r\n{head}".encode(),
        b"patch": f"{upload}Upload-Offset: 0\r\nUpload-Length: 1000000\r\n".encode(),
    }
    with socket.create_connection((url.hostname, url.port or 0)) as client:
        client.sendall(part % heads if b"%" in part else part)
        time.sleep(0.5)
        api.stop()  # it waits for a minute at most


@pytest.mark.parametrize("delay", [0, 0.002, 0.02])
def test_a_signal_during_the_start_stops_the_service(tmp_path: Path, delay: float) -> None:
    command = [sys.executable, "-m", "mlmgmt_nb.cli", "serve", "--home", str(tmp_path / "home")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
        eventually(lambda: _handles(service.pid, signal.SIGTERM), what="its handler of the signal")
        time.sleep(delay)
        service.send_signal(signal.SIGTERM)
        try:
            output, _ = service.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            service.kill()
            raise
    assert service.returncode == 0, output


def _handles(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)
