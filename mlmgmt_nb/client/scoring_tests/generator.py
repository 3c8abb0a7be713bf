"""The program that sends the requests of a scoring test: a separate process, so that no kernel slows it down.

It is run by its path and imports nothing of ours, to start quickly. A `Plan` comes on standard input, after which the
end of that input means: stop. `Batch`es of results go to standard output, a few times a second. Each message is
MessagePack after its length in four bytes.

Each connection has one request under way at a time. Without a rate, it sends the next when it has its answer. With a
rate, requests are due at fixed times and go to whichever connection is free; one that had to wait for a free connection
is measured from when it was due, so that a slow answer does not hide the requests it kept from being sent (coordinated
omission). Where the program itself was late, with a connection free, that is not the service's time: such requests are
measured from when they were sent, and `Batch.late` tells by how much.
"""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec

__all__ = ["Batch", "Outcome", "Plan", "Target", "main"]

_BATCH_SECONDS = 0.1
_SWEEP_SECONDS = 0.05
_GRACE_SECONDS = 1.0
"""When it is told to stop, answers on their way may take so long."""
_PAUSE_SECONDS = 0.1
"""After a connection that could not be made; without it, a service that is gone would make this program spin."""
_REMEMBERED_BYTES = 32 * 2**20


class Target(msgspec.Struct):
    """A scoring URL, its key, and more header lines of its requests."""

    url: str
    key: str | None = None
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Target {self.url}>"


class Plan(msgspec.Struct):
    """The work of one process.

    Attributes:
        target: where the requests go.
        against: where each goes as well, to compare the answers; None for no other service.
        bodies: of the cases; request `n` has body `n % len(bodies)`.
        first, step: its requests are `first`, `first + step` and so on.
        requests: numbers stay below this; None for no end.
        connections: how many requests are under way at the same time.
        duration: seconds after which no more are sent.
        rate: requests due in a second, those of all processes together.
        timeout: seconds until an answer counts as missing.
        alternates: each connection alternates which of the two targets is asked first, so that neither is favored.
            Needs `against`, and no rate.
    """

    target: Target
    bodies: list[bytes]
    against: Target | None = None
    first: int = 0
    step: int = 1
    requests: int | None = None
    connections: int = 1
    duration: float | None = None
    rate: float | None = None
    timeout: float = 60.0
    alternates: bool = False


class Outcome(msgspec.Struct, array_like=True, frozen=True):
    """The result of a request without its latency. Status 0 means no response; the content then gives the reason.

    Attributes:
        case: number of the case.
        status, content: the service's answer.
        other_status, other_content: that of the service to compare with; -1 when it was not asked.
    """

    case: int
    status: int
    content: bytes
    other_status: int = -1
    other_content: bytes = b""


class Batch(msgspec.Struct, array_like=True):
    """Results since the batch before: a column each, as an array of machine values.

    Attributes:
        at: seconds after the start when they were due, or sent without a rate (`d`).
        seconds: from then until the answer was there (`d`).
        outcomes: each one's place among all different outcomes of this process (`q`).
        ids: request ids, a line each.
        other_seconds: what the service to compare with took, where it was asked (`d`).
        new: the outcomes that come first in this batch, in the order of their places.
        cpu, clock: seconds since the start, of CPU and of the clock.
        late: most seconds by which this program was late to send a request.
        ended: whether this is the last batch.
    """

    at: bytes
    seconds: bytes
    outcomes: bytes
    ids: str
    other_seconds: bytes
    new: list[Outcome]
    cpu: float
    clock: float
    late: float
    ended: bool


class _Response:
    """The response to one request to one service."""

    __slots__ = ("content", "id", "seconds", "status")

    def __init__(self, status: int, seconds: float, content: bytes, request_id: str) -> None:
        self.status, self.seconds, self.content, self.id = status, seconds, content, request_id


class _Connection(asyncio.Protocol):
    """A connection to a service, and the response that it receives.

    Args:
        on_answer: called with status, content and request id of each answer.
        on_end: called with the reason when the connection has ended or the response is not HTTP.
    """

    def __init__(
        self, on_answer: Callable[[_Connection, int, bytes, str], None], on_end: Callable[[_Connection, str], None]
    ) -> None:
        self._on_answer, self._on_end = on_answer, on_end
        self._parser = httptools.HttpResponseParser(self)
        self._content: list[bytes] = []
        self._id = ""
        self.is_used = self.is_answering = False
        self.is_open = True

    def write(self, request: bytes) -> None:
        """Send a request."""
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection at once."""
        self.is_open = False
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is not derived from it

    def data_received(self, data: bytes) -> None:
        self.is_answering = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.close()
            self._on_end(self, f"the response is not HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._on_end(self, str(error or "the connection was closed"))

    # the parser's callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 15 and name.lower() == b"x-ms-request-id":
            self._id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._content.append(body)

    def on_message_complete(self) -> None:
        content, request_id = self._content, self._id
        self._content, self._id = [], ""
        self.is_used, self.is_answering = True, False
        if not self._parser.should_keep_alive():
            self.close()
        body = content[0] if len(content) == 1 else b"".join(content)
        self._on_answer(self, self._parser.get_status_code(), body, request_id)


class _Caller:
    """Send requests to a service, one at a time, on a connection that is kept.

    Args:
        target: the service.
        timeout: seconds until an answer counts as missing.
        on_answer: called with the number of the request and its answer: the reason, and status 0, when there is none.
    """

    def __init__(self, target: Target, timeout: float, on_answer: Callable[[_Caller, int, _Response], None]) -> None:
        parts = urlsplit(target.url)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = _tls() if parts.scheme == "https" else None
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authorization = f"Authorization: Bearer {target.key}\r\n" if target.key else ""
        more = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n{authorization}{more}"
            "Content-Length: "
        ).encode()
        self._timeout, self._on_answer = timeout, on_answer
        self._wire: _Connection | None = None
        self._number: int | None = None
        self._request = b""
        self._counts_from = self._deadline = 0.0
        self.free_since = 0.0

    def send(self, number: int, body: bytes, counts_from: float) -> None:
        """Send a request, whose time counts from the given moment."""
        self._number, self._counts_from = number, counts_from
        self._request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        self._deadline = time.perf_counter() + self._timeout
        if self._wire is None:
            self._task = asyncio.get_running_loop().create_task(self._connect_and_write())
        else:
            self._wire.write(self._request)

    async def connect(self) -> str:
        """Connect; return the reason when that fails."""
        name = self._host if self._tls else None
        connecting = asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._receive, self._disconnected),
            self._host,
            self._port,
            ssl=self._tls,
            server_hostname=name,
        )
        try:
            _, self._wire = await asyncio.wait_for(connecting, self._timeout)
        except OSError as error:  # a TimeoutError is one
            return str(error) or type(error).__name__
        return ""

    async def _connect_and_write(self) -> None:
        number = self._number
        problem = await self.connect()
        if problem:
            await asyncio.sleep(_PAUSE_SECONDS)
        if self._number != number:  # given up meanwhile
            return
        if self._wire is None:
            self._answered(0, f"no connection: {problem or 'it was closed at once'}".encode(), "")
        else:
            self._wire.write(self._request)

    def sweep(self, now: float) -> None:
        """Give up a request whose response is overdue."""
        if self._number is not None and now > self._deadline:
            self.close()
            self._answered(0, f"no answer within {self._timeout:g} s".encode(), "")

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _receive(self, wire: _Connection, status: int, content: bytes, request_id: str) -> None:
        if wire is not self._wire:
            return
        if not wire.is_open:
            self._wire = None
        if self._number is not None:
            self._answered(status, content, request_id)

    def _disconnected(self, wire: _Connection, reason: str) -> None:
        if wire is not self._wire:  # closed by us
            return
        self._wire = None
        if self._number is None:
            return
        if wire.is_used and not wire.is_answering:
            # The service closed the kept connection, as it may between two requests.
            self._task = asyncio.get_running_loop().create_task(self._connect_and_write())
        else:
            self._answered(0, f"no answer: {reason}".encode(), "")

    def _answered(self, status: int, content: bytes, request_id: str) -> None:
        number, now = self._number, time.perf_counter()
        assert number is not None
        self._number, self._request = None, b""
        self.free_since = now
        self._on_answer(self, number, _Response(status, now - self._counts_from, content, request_id))


def _tls() -> ssl.SSLContext:
    """Return a TLS context that trusts the same certificates as requests, which the rest of the client uses."""
    import certifi

    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


class _Results:
    """Collects results until they are sent."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, bytes, int, bytes], int] = {}
        self._known_bytes = 0
        self._places = 0
        self._clear()

    def _clear(self) -> None:
        self._at, self._seconds, self._other_seconds = array("d"), array("d"), array("d")
        self._outcomes = array("q")
        self._ids: list[str] = []
        self._new: list[Outcome] = []

    def add(self, case: int, at: float, answer: _Response, other: _Response | None) -> None:
        self._at.append(at)
        self._seconds.append(answer.seconds)
        self._ids.append(answer.id)
        if other is None:
            key = (case, answer.status, answer.content, -1, b"")
        else:
            key = (case, answer.status, answer.content, other.status, other.content)
            self._other_seconds.append(other.seconds)
        place = self._known.get(key)
        self._outcomes.append(self._remember(key) if place is None else place)

    def _remember(self, key: tuple[int, int, bytes, int, bytes]) -> int:
        if self._known_bytes > _REMEMBERED_BYTES:
            self._known.clear()
            self._known_bytes = 0
        place = self._known[key] = self._places
        self._places += 1
        self._known_bytes += 200 + len(key[2]) + len(key[4])
        self._new.append(Outcome(*key))
        return place

    def taken(self, cpu: float, clock: float, late: float, *, ended: bool) -> Batch:
        """Return the results so far, which are forgotten here."""
        batch = Batch(
            self._at.tobytes(),
            self._seconds.tobytes(),
            self._outcomes.tobytes(),
            "\n".join(self._ids),
            self._other_seconds.tobytes(),
            self._new,
            cpu,
            clock,
            late,
            ended,
        )
        self._clear()
        return batch


class _Load:
    """Send the requests of a plan, and pass batches of results to `emit`."""

    def __init__(self, plan: Plan, emit: Callable[[Batch], None]) -> None:
        self._plan = plan
        self._emit = emit
        self._results = _Results()
        self._callers = [_Caller(plan.target, plan.timeout, self._receive) for _ in range(plan.connections)]
        self._free = deque(self._callers)
        self._others: list[_Caller] = []
        if plan.against is not None:
            self._others = [
                _Caller(plan.against, plan.timeout, self._receive_reference) for _ in range(plan.connections)
            ]
        self._free_others = deque(self._others)
        self._to_compare: deque[tuple[int, float, _Response, _Caller]] = deque()
        self._comparing: dict[int, tuple[float, _Response, _Caller]] = {}
        self._due_at: dict[int, float] = {}
        self._next = plan.first
        self._waiting: deque[int] = deque()
        self._under_way = 0
        self._stopped = False
        self._late = 0.0
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Run until all is answered, or until `stop`."""
        everyone = [*self._callers, *self._others]
        # Opening connections is not part of a score: it is done before the clock starts. What fails now fails again
        # with the first request, which then says so.
        await asyncio.gather(*(caller.connect() for caller in everyone))
        self._cpu = time.process_time()
        self._begun = time.perf_counter()
        sweeper = asyncio.create_task(self._sweep(everyone))
        self._start()
        self._end_if_done()
        await self._ended.wait()
        sweeper.cancel()
        self._flush(ended=True)
        for caller in everyone:
            caller.close()

    def _start(self) -> None:
        if self._plan.rate is None:
            for caller in list(self._free):
                self._send_next(caller)
        else:
            self._send_due()

    def stop(self) -> None:
        """Send no more requests, and end soon."""
        if self._stopped:
            return
        self._stopped = True
        self._waiting.clear()
        if self._timer:
            self._timer.cancel()
        self._end_if_done()
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._ended.set)

    async def _sweep(self, callers: list[_Caller]) -> None:
        flushed = time.perf_counter()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.perf_counter()
            for caller in callers:
                caller.sweep(now)
            if now - flushed >= _BATCH_SECONDS:
                flushed = now
                self._flush(ended=False)

    def _flush(self, *, ended: bool) -> None:
        cpu, clock = time.process_time() - self._cpu, time.perf_counter() - self._begun
        self._emit(self._results.taken(cpu, clock, self._late, ended=ended))

    def _end_if_done(self) -> None:
        done = self._stopped or not self._has_more(time.perf_counter())
        if done and not self._under_way and not self._waiting:
            self._ended.set()

    def _has_more(self, now: float) -> bool:
        """Return whether another request is to be sent, now or later."""
        plan = self._plan
        if plan.requests is not None and self._next >= plan.requests:
            return False
        at = self._next / plan.rate if plan.rate else now - self._begun
        return plan.duration is None or at < plan.duration

    # without a rate

    def _send_next(self, caller: _Caller) -> None:
        now = time.perf_counter()
        if not self._stopped and self._has_more(now):
            self._send(caller, self._take(), now - self._begun, now)

    def _take(self) -> int:
        number = self._next
        self._next += self._plan.step
        return number

    def _send(self, caller: _Caller, number: int, at: float, counts_from: float) -> None:
        self._under_way += 1
        self._due_at[number] = at
        caller.send(number, self._plan.bodies[self._case(number)], counts_from)

    def _case(self, number: int) -> int:
        return number % len(self._plan.bodies)

    # with a rate

    def _send_due(self) -> None:
        """Send the requests that are due, as far as callers are free, and schedule the next call."""
        rate = self._plan.rate
        assert rate is not None
        now = time.perf_counter()
        while self._has_more(now) and self._begun + self._next / rate <= now:
            self._waiting.append(self._take())
        self._send_waiting()
        if self._has_more(now):
            wait = self._begun + self._next / rate - time.perf_counter()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wait), self._send_due)

    def _send_waiting(self) -> None:
        rate = self._plan.rate
        assert rate is not None
        while self._waiting and self._free:
            number, caller = self._waiting.popleft(), self._free.popleft()
            now, due = time.perf_counter(), self._begun + number / rate
            could = max(due, caller.free_since)
            self._late = max(self._late, now - could)
            # Waiting for a free connection is the service's time, this program's own lateness is not.
            self._send(caller, number, number / rate, now - (could - due))

    # answers

    def _receive(self, caller: _Caller, number: int, answer: _Response) -> None:
        at = self._due_at.pop(number)
        if self._plan.against is None or self._stopped:
            self._under_way -= 1
            self._results.add(self._case(number), at, answer, None)
            self._release(caller)
        else:
            self._to_compare.append((number, at, answer, caller))
            self._compare()
            if self._plan.rate is not None:
                self._release(caller)

    def _release(self, caller: _Caller) -> None:
        """Mark the caller as free for another request."""
        if self._plan.rate is None:
            self._send_next(caller)
        else:
            self._free.append(caller)
            self._send_waiting()
        self._end_if_done()

    def _compare(self) -> None:
        while self._to_compare and self._free_others:
            number, at, answer, caller = self._to_compare.popleft()
            self._comparing[number] = (at, answer, caller)
            self._free_others.popleft().send(number, self._plan.bodies[self._case(number)], time.perf_counter())

    def _receive_reference(self, other: _Caller, number: int, answer: _Response) -> None:
        at, first, caller = self._comparing.pop(number)
        self._under_way -= 1
        self._results.add(self._case(number), at, first, answer)
        self._free_others.append(other)
        self._compare()
        if self._plan.rate is None:
            self._release(caller)
        else:
            self._end_if_done()


class _Pair:
    """Send each request to both targets in turn.

    Args:
        target, against, timeout: of the plan.
        turn: the target that is asked first for the first request, 1 or 0.
        on_answers: called with the number of a request and both answers.
    """

    def __init__(
        self,
        target: Target,
        against: Target,
        timeout: float,
        turn: int,
        on_answers: Callable[[_Pair, int, _Response, _Response], None],
    ) -> None:
        self.callers = [_Caller(one, timeout, self._receive) for one in (target, against)]
        self._turn, self._on_answers = turn, on_answers
        self._body = b""
        self._answers: dict[_Caller, _Response] = {}

    def send(self, number: int, body: bytes) -> None:
        """Send a request; the other target is asked first next time."""
        self._turn ^= 1
        self._body = body
        self.callers[self._turn].send(number, body, time.perf_counter())

    def _receive(self, caller: _Caller, number: int, answer: _Response) -> None:
        self._answers[caller] = answer
        if len(self._answers) == 1:
            self.callers[self._turn ^ 1].send(number, self._body, time.perf_counter())
            return
        answers, self._answers = self._answers, {}
        self._on_answers(self, number, *(answers[one] for one in self.callers))


class _PairedLoad(_Load):
    """Send the requests of a plan that alternates."""

    def __init__(self, plan: Plan, emit: Callable[[Batch], None]) -> None:
        super().__init__(plan, emit)
        assert plan.against is not None
        self._pairs = [
            _Pair(plan.target, plan.against, plan.timeout, place % 2, self._receive_both)
            for place in range(plan.connections)
        ]
        self._callers = [caller for pair in self._pairs for caller in pair.callers]
        self._others = []

    def _start(self) -> None:
        for pair in self._pairs:
            self._send_pair(pair)

    def _send_pair(self, pair: _Pair) -> None:
        now = time.perf_counter()
        if not self._stopped and self._has_more(now):
            number = self._take()
            self._under_way += 1
            self._due_at[number] = now - self._begun
            pair.send(number, self._plan.bodies[self._case(number)])

    def _receive_both(self, pair: _Pair, number: int, answer: _Response, other: _Response) -> None:
        self._under_way -= 1
        self._results.add(self._case(number), self._due_at.pop(number), answer, other)
        self._send_pair(pair)
        self._end_if_done()


class _StdinReader(asyncio.Protocol):
    """Read standard input; its end means stop."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def connection_lost(self, _: Exception | None) -> None:
        self._stop()


class _StdoutWriter(asyncio.BaseProtocol):
    """Write to standard output; a closed pipe means stop."""

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

    load = (_PairedLoad if plan.alternates else _Load)(plan, emit)
    inlet, _ = await loop.connect_read_pipe(lambda: _StdinReader(load.stop), sys.stdin.buffer)
    await load.run()
    inlet.close()
    outlet.close()
    protocol = outlet.get_protocol()
    assert isinstance(protocol, _StdoutWriter)
    await protocol.lost


def main() -> None:
    """Read the plan and carry it out."""
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(length), type=Plan)
    gc.freeze()  # so that it has little to look through: a pause of it would look like one of the service
    try:
        import uvloop
    except ImportError:
        asyncio.run(_main(plan))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(plan))


if __name__ == "__main__":
    main()
