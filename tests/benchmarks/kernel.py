"""Measure the cost of a cell for a kernel: messages to the browser, and CPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psutil
from jupyter_client.blocking.client import BlockingKernelClient

__all__ = ["cpu_seconds", "run_cell"]


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has used."""
    return sum(process.cpu_times()[:2])


def run_cell(client: BlockingKernelClient, code: str) -> tuple[Counter[str], int]:
    """Return the types of the messages that a cell sent to the browser, and their characters."""
    sent: Counter[str] = Counter()
    size = 0

    def hook(message: dict[str, Any]) -> None:
        nonlocal size
        sent[message["header"]["msg_type"]] += 1
        size += len(str(message["content"]))

    reply = client.execute_interactive(code, output_hook=hook, timeout=600)
    assert reply["content"]["status"] == "ok", reply["content"]
    return sent, size
