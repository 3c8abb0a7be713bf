"""A load generator for scoring servers: keep-alive connections, each with one request in flight at a time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psutil

WARM_UP_SECONDS = 0.5
_PACED_CONNECTIONS = 8


@dataclass(frozen=True)
class Load:
    """The measurements: CPU in seconds of the server's process tree, latencies in milliseconds."""

    requests: int
    failures: int
    seconds: float
    cpu_seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def cpu_per_1000(self) -> float:
        return self.cpu_seconds / self.requests * 1000

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class _Caller(asyncio.Protocol):
    """A connection that sends the next request when the previous answer is complete."""

    def __init__(self, request: bytes, until: float, ended: asyncio.Future[None], latencies: list[float]) -> None:
        self._request, self._until, self._ended, self._latencies = request, until, ended, latencies
        self._buffer = b""
        self._reconnecting = False
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done() and not self._reconnecting:
            self._ended.set_exception(error or ConnectionError("the server closed the connection"))

    async def _reconnect(self) -> None:
        """Reconnect, for servers that do not keep connections."""
        self._reconnecting = True
        port = self._transport.get_extra_info("peername")[1]
        self._transport.close()
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        self._reconnecting = False

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or not _is_complete(head, rest):
            return
        now = time.perf_counter()
        self._latencies.append(now - self._began)
        self.failures += self._buffer[9:12] != b"200"
        self._buffer = b""
        if now < self._until and b"connection: close" in head.lower():
            self._task = asyncio.get_running_loop().create_task(self._reconnect())
        elif now < self._until:
            self._send()
        elif not self._ended.done():
            self._ended.set_result(None)
            self._transport.close()


def _is_complete(head: bytes, rest: bytes) -> bool:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(rest) >= int(line[15:])
    return rest.endswith(b"0\r\n\r\n")  # chunked


def tree_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its living children."""
    root = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:2]) for process in [root, *root.children(recursive=True)])


def tree_memory(pid: int) -> float:
    """Return the memory of a process and its children in MiB, with shared pages counted once where possible."""
    root = psutil.Process(pid)
    sizes = [process.memory_full_info() for process in [root, *root.children(recursive=True)]]
    return sum(getattr(size, "pss", size.rss) for size in sizes) / 2**20


def run_load(
    pid: int, port: int, path: str, body: bytes, *, seconds: float, connections: int = 8, headers: str = ""
) -> Load:
    """Load a server and measure it, after warming it up."""
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    asyncio.run(_drive(port, request, WARM_UP_SECONDS, connections))
    before, began = tree_cpu(pid), time.perf_counter()
    latencies, failures = asyncio.run(_drive(port, request, seconds, connections))
    elapsed, cpu = time.perf_counter() - began, tree_cpu(pid) - before
    latencies.sort()
    count = len(latencies)
    p50, p99 = (latencies[int(count * share)] * 1000 for share in (0.5, 0.99))
    return Load(count, failures, elapsed, cpu, p50, p99)


@dataclass(frozen=True)
class Pace:
    """Latencies in milliseconds at a steady rate, from when a request was due, and of health checks meanwhile."""

    rate: float
    p50_ms: float
    p99_ms: float
    worst_health_ms: float
    failures: int


def run_paced(
    port: int, path: str, body: bytes, *, rate: float, seconds: float, slow: bytes | None = None, headers: str = ""
) -> Pace:
    """Send requests at a steady rate, whether or not the ones before are answered.

    Args:
        slow: body of one additional request, after a third of the time.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{headers}"
    requests = [f"{head}Content-Length: {len(one)}\r\n\r\n".encode() + one for one in (body, slow or b"")]
    return asyncio.run(_pace(port, requests[0], requests[1] if slow else None, rate, seconds))


async def _pace(port: int, request: bytes, slow: bytes | None, rate: float, seconds: float) -> Pace:
    due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
    latencies: list[float] = []
    failures: list[bytes] = []
    callers = [asyncio.create_task(_call_when_due(port, due, latencies, failures)) for _ in range(_PACED_CONNECTIONS)]
    health: list[float] = []
    watch = asyncio.create_task(_watch_health(port, health))
    began, sent = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        if slow is not None and elapsed > seconds / 3:
            due.put_nowait((0.0, slow))
            slow = None
        while sent < elapsed * rate:
            due.put_nowait((began + sent / rate, request))
            sent += 1
        await asyncio.sleep(0.001)
    for _ in callers:
        due.put_nowait(None)
    await asyncio.gather(*callers)
    watch.cancel()
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99))
    return Pace(rate, p50, p99, max(health) * 1000, len(failures))


async def _call_when_due(
    port: int, due: asyncio.Queue[tuple[float, bytes] | None], latencies: list[float], failures: list[bytes]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (item := await due.get()) is not None:
        moment, request = item
        writer.write(request)
        head = await _read_answer(reader)
        if moment:  # the slow request is not measured
            latencies.append(time.perf_counter() - moment)
        if head[9:12] != b"200":
            failures.append(head)
        if b"connection: close" in head.lower():
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def _watch_health(port: int, latencies: list[float]) -> None:
    """Request `/` repeatedly on a separate connection; any answer shows that the server is alive."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        began = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await _read_answer(reader)
        latencies.append(time.perf_counter() - began)
        if b"connection: close" in head.lower():
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.02)


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return the head of an answer after reading its body."""
    answer = await reader.readuntil(b"\r\n\r\n")
    head, rest = answer[:-4], b""
    while not _is_complete(head, rest):
        rest += await reader.read(65536)
    return head


async def _drive(port: int, request: bytes, seconds: float, connections: int) -> tuple[list[float], int]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    until = time.perf_counter() + seconds
    callers, ends = [], []
    for _ in range(connections):
        ended: asyncio.Future[None] = loop.create_future()
        caller = _Caller(request, until, ended, latencies)
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
        callers.append(caller)
        ends.append(ended)
    await asyncio.gather(*ends)
    return latencies, sum(caller.failures for caller in callers)
