"""The process: read the plan, run it, and write the results."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable

import msgspec

from mlmgmt_nb.load_generator.load import Load
from mlmgmt_nb.load_generator.messages import Batch, Plan
from mlmgmt_nb.load_generator.paired_load import PairedLoad


class _StdinReader(asyncio.Protocol):
    """Read standard input; its end stops the requests."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def connection_lost(self, _: Exception | None) -> None:
        self._stop()


class _StdoutWriter(asyncio.BaseProtocol):
    """Write to standard output; a closed pipe stops the requests."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


async def _main(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    outlet, _ = await loop.connect_write_pipe(_StdoutWriter, sys.stdout.buffer)
    encode = msgspec.msgpack.Encoder().encode

    def emit(batch: Batch) -> None:
        message = encode(batch)
        outlet.write(len(message).to_bytes(4, "big") + message)

    load = (PairedLoad if plan.alternates else Load)(plan, emit)
    inlet, _ = await loop.connect_read_pipe(lambda: _StdinReader(load.stop), sys.stdin.buffer)
    await load.run()
    inlet.close()
    outlet.close()
    protocol = outlet.get_protocol()
    assert isinstance(protocol, _StdoutWriter)
    await protocol.lost


def main() -> None:
    """Read the plan and run it."""
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(length), type=Plan)
    gc.freeze()  # so that it has few objects to check: its pauses would look like pauses of the service
    try:
        import uvloop
    except ImportError:
        asyncio.run(_main(plan))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(plan))


if __name__ == "__main__":
    main()
