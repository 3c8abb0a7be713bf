"""The processes that send the requests of a scoring test, controlled by the process that judges the responses."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

import msgspec

from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.load_generator.messages import Batch, Plan

__all__ = ["Load"]

_END_SECONDS = 5.0


class Load:
    """Run plans, each in a process of its own, for the duration of a `with` block.

    Args:
        plans: one for each process.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = plans
        self._processes: list[subprocess.Popen[bytes]] = []
        self._arrived: SimpleQueue[tuple[int, bytes | None]] = SimpleQueue()
        self._decode = msgspec.msgpack.Decoder(Batch).decode
        self._open: set[int] = set()
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Load:
        self._stderr: Any = tempfile.TemporaryFile()
        try:
            for plan in self._plans:
                self._start(plan)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, plan: Plan) -> None:
        # -P: the current folder may have modules of these names, too.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlmgmt_nb.load_generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,  # only the kernel gets an interrupt; it then stops the process
            env={name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"},
        )
        place = len(self._processes)
        self._processes.append(process)
        self._open.add(place)
        name = f"scoring-test-{place}"
        self._readers.append(threading.Thread(target=self._read, args=(place, process), name=name, daemon=True))
        self._readers[-1].start()
        message = msgspec.msgpack.encode(plan)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already; `next` raises the reason
            process.stdin.write(len(message).to_bytes(4, "big") + message)
            process.stdin.flush()

    def _read(self, place: int, process: subprocess.Popen[bytes]) -> None:
        stdout = process.stdout
        assert stdout is not None
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            while len(size := stdout.read(4)) == 4:
                self._arrived.put((place, stdout.read(int.from_bytes(size, "big"))))
        self._arrived.put((place, None))

    @property
    def is_over(self) -> bool:
        """Return whether no more batches follow."""
        return not self._open

    def next(self, timeout: float) -> tuple[int, Batch] | None:
        """Return the number of a process and its next batch; None if none arrives within this many seconds.

        Raises:
            MlmgmtError: a process ended too early.
        """
        try:
            place, content = self._arrived.get(timeout=timeout)
        except Empty:
            return None
        if content is None:
            if place in self._open:
                raise MlmgmtError(f"the process that sends the requests has ended: {self._last_error_line()}")
            return None
        batch = self._decode(content)
        if batch.ended:
            self._open.discard(place)
        return place, batch

    def _last_error_line(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed no error"

    def stop(self) -> None:
        """Send no more requests; responses that arrive soon still count."""
        for process in self._processes:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()

    def __exit__(self, *_: object) -> None:
        self.stop()
        for process in self._processes:
            try:
                process.wait(_END_SECONDS if self.is_over else 0.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader, process in zip(self._readers, self._processes, strict=True):
            reader.join(_END_SECONDS)  # ends after the last output of the process
            if process.stdout is not None:
                process.stdout.close()
        self._stderr.close()
