"""The magics in a real kernel, over its real protocol."""

from __future__ import annotations

import itertools
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.waiting import DEADLINE


class Kernel:
    """A kernel with the extension loaded."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.manager = KernelManager()
        self.manager.start_kernel(env=environment)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=DEADLINE)
        self.run("%load_ext mlmgmt_nb")

    def run(self, code: str, on_output: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """Run a cell; return its reply, with its outputs under `outputs`."""
        outputs: list[dict[str, Any]] = []

        def hook(message: dict[str, Any]) -> None:
            outputs.append({"type": message["header"]["msg_type"], **message["content"]})
            if on_output:
                on_output(outputs[-1])

        reply = self.client.execute_interactive(code, output_hook=hook, timeout=DEADLINE)
        return {**reply["content"], "outputs": outputs}

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(environment: Path) -> Iterator[Kernel]:
    kernel = Kernel(dict(os.environ))
    yield kernel
    kernel.stop()


def write(kernel: Kernel, name: str, driver: str) -> None:
    """Write a driver beside the notebook."""
    assert kernel.run(f"with open({name!r}, 'w') as file:\n    file.write({driver!r})")["status"] == "ok"


def slow(gate: Path) -> str:
    """Return a driver that loads until a file is there."""
    return f"""\
import os, time

def init():
    print('weights <b> loaded', flush=True)
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.01)

def run(body):
    return 1
"""


FAILS = "def init():\n    raise ValueError('no <i>weights</i>')\n\ndef run(body):\n    return 1\n"


def displays(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [output for output in outputs if "display_data" in output["type"]]


def test_what_ends_at_once_shows_no_panel(kernel: Kernel) -> None:
    kernel.run("from mlmgmt_nb import connect\nfrom mlmgmt_nb.notebook.panels import OperationPanel\nws = connect()")
    kernel.run("%mlmgmt service create -n quick -m model.bin -f score.py")
    kernel.run("ended = ws.services.update('quick', num_replicas=1)\nended.wait()")
    ran = kernel.run("OperationPanel(ended).wait()")
    assert ran["status"] == "ok"
    assert displays(ran["outputs"]) == []
    kernel.run("%mlmgmt service delete -n quick")


def test_panel_is_one_display_that_moves(kernel: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    write(kernel, "slow.py", slow(gate))
    drawn: list[dict[str, Any]] = []

    def on_output(output: dict[str, Any]) -> None:
        drawn.extend(displays([output]))
        # The driver loads until its output was shown, and the display has moved: it may be quick otherwise.
        if len(drawn) > 2 and "weights &lt;b&gt; loaded" in output.get("data", {}).get("text/html", ""):
            gate.touch()

    ran = kernel.run("%mlmgmt service create -n moves -m model.bin -f slow.py", on_output)
    assert ran["status"] == "ok"
    first, *updates = displays(ran["outputs"])
    assert len(updates) >= 3
    assert {update["transient"]["display_id"] for update in updates} == {first["transient"]["display_id"]}
    assert all(set(shown["data"]) == {"text/plain", "text/html"} for shown in (first, *updates))
    running = [shown["data"]["text/html"] for shown in (first, *updates) if "Running" in shown["data"]["text/plain"]]
    assert 'role="progressbar"' in running[-1]
    assert "weights &lt;b&gt; loaded" in running[-1]
    last = updates[-1]["data"]
    assert last["text/plain"].startswith("service Succeeded")
    assert "progressbar" not in last["text/html"]
    assert "<summary>log</summary>" in last["text/html"]
    shown = kernel.run("%mlmgmt service show -n moves")
    result = next(output for output in shown["outputs"] if output["type"] == "execute_result")
    assert "<table>" in result["data"]["text/html"]
    kernel.run("%mlmgmt service delete -n moves")


def test_panel_moves_after_its_cell_has_ended(kernel: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    write(kernel, "slow.py", slow(gate))
    ran = kernel.run("%mlmgmt service create -n later -m model.bin -f slow.py --no-wait")
    assert ran["status"] == "ok"
    gate.touch()
    ids = {shown["transient"]["display_id"] for shown in displays(ran["outputs"]) if shown.get("transient")}
    seen = ""
    while not seen.startswith("service Succeeded"):
        message = kernel.client.get_iopub_msg(timeout=DEADLINE)
        if message["msg_type"] == "update_display_data":
            assert message["content"]["transient"]["display_id"] in ids
            seen = message["content"]["data"]["text/plain"]
    kernel.run("%mlmgmt service delete -n later")


def test_panel_of_a_driver_that_does_not_load(kernel: Kernel) -> None:
    write(kernel, "fails.py", FAILS)
    ran = kernel.run("%mlmgmt service create -n fails -m model.bin -f fails.py")
    assert ran["ename"] == "OperationFailed"
    last = displays(ran["outputs"])[-1]["data"]
    assert last["text/plain"].startswith("service Failed")
    assert "no <i>weights</i>" in last["text/plain"]
    assert 'role="alert"' in last["text/html"]
    assert "<summary>driver's traceback</summary>" in last["text/html"]
    assert "no &lt;i&gt;weights&lt;/i&gt;" in last["text/html"]
    assert "<i>" not in last["text/html"]
    kernel.run("%mlmgmt service delete -n fails")


def test_upload_is_one_display_that_moves(kernel: Kernel) -> None:
    kernel.run("with open('large.bin', 'wb') as file:\n    file.truncate(150 * 2**20)")
    ran = kernel.run("model = %mlmgmt model register -m large.bin")
    first, *updates = [output for output in ran["outputs"] if "display_data" in output["type"]]
    assert {update["transient"]["display_id"] for update in updates} == {first["transient"]["display_id"]}
    assert first["data"]["text/plain"] == "upload large.bin: 0% of 157 MB"
    assert "<progress" in first["data"]["text/html"]
    last = updates[-1]["data"]["text/plain"]
    assert re.fullmatch(r"upload large.bin: 100% of 157 MB, [0-9,.]+ [kMG]B/s", last), last
    assert "<progress" not in updates[-1]["data"]["text/html"]


def test_complete_request(kernel: Kernel) -> None:
    kernel.run("%mlmgmt model register -m model.bin -n completed")
    code = "x = 1\ny = %mlmgmt model show -m comp"
    kernel.client.complete(code, len(code))
    reply = kernel.client.get_shell_msg(timeout=DEADLINE)["content"]
    assert reply["matches"] == ["completed"]
    assert code[reply["cursor_start"] : reply["cursor_end"]] == "comp"


def test_error_stops_run_all(kernel: Kernel) -> None:
    ran = kernel.run("%mlmgmt model show -m nothing-of-this-name")
    assert ran["status"] == "error"
    assert ran["ename"] == "NotFoundError"
    error = next(output for output in ran["outputs"] if output["type"] == "error")
    assert error["traceback"] == [
        "NotFoundError: no model has the name 'nothing-of-this-name'",
        "`%mlmgmt model list` lists the existing models.",
    ]


class Forever(BaseHTTPRequestHandler):
    """A service whose operation never ends."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"id": "op-1", "operationType": "Service", "state": "Running"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def endless() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forever)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/accounts/test"
    server.shutdown()
    server.server_close()
    thread.join()


def test_log_is_followed_until_the_cell_is_interrupted(kernel: Kernel) -> None:
    kernel.run("%mlmgmt service create -n followed -m model.bin -f score.py")
    seen: list[str] = []

    def on_output(output: dict[str, Any]) -> None:
        if output["type"] == "stream":
            seen.append(output["text"])
            if "".join(seen).count("deployed") == 1:
                kernel.manager.interrupt_kernel()

    ran = kernel.run("%mlmgmt service logs -n followed --follow", on_output)
    assert ran["status"] == "ok"
    assert "[mlmgmt] deployed" in "".join(seen)
    assert kernel.run("1 + 1")["status"] == "ok"
    kernel.run("%mlmgmt service delete -n followed")


def test_interrupt_stops_the_waiting_and_tells_how_to_go_on(kernel: Kernel, endless: str) -> None:
    started = threading.Event()

    def on_output(output: dict[str, Any]) -> None:
        if output["type"] == "display_data" and not started.is_set():
            started.set()
            kernel.manager.interrupt_kernel()

    ran = kernel.run(f"%mlmgmt operation watch op-1 --base-url {endless}", on_output)
    assert started.is_set()
    assert ran["status"] == "error"
    assert ran["ename"] == "KeyboardInterrupt"
    assert ran["traceback"] == ["KeyboardInterrupt: the cell was interrupted"]
    last = displays(ran["outputs"])[-1]["data"]
    assert "wait for it with `%mlmgmt operation watch op-1`" in last["text/plain"]
    # The operation goes on, and so does its panel. On a busy machine, a text of the kernel came in between once.
    following = (kernel.client.get_iopub_msg(timeout=DEADLINE)["msg_type"] for _ in itertools.count())
    assert next(kind for kind in following if kind != "stream") == "update_display_data"
    timed_out = kernel.run(f"%mlmgmt operation watch op-1 --timeout 0 --base-url {endless}")
    assert timed_out["ename"] == "OperationTimeout"
    assert "`%mlmgmt operation watch op-1` waits for it" in timed_out["traceback"][-1]
    with pytest.raises(queue.Empty):
        kernel.client.get_stdin_msg(timeout=0)
