"""A scoring server whose answers are told to it, and which can be unkind."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable

Answer = Callable[[int, bytes], Awaitable[bytes | None]]
"""Given the number and the body of a request: the bytes of its answer; None closes the connection."""


def plain(content: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "X-Ms-Request-Id: some-id", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


class ScriptedServer:
    """The server, in a thread of its own, while it is entered; with a certificate it speaks TLS."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answer, self._tls = answer, tls
        self.requests = self.connections = 0
        self.keys: set[bytes] = set()

    def __enter__(self) -> ScriptedServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/score"
        return self

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                headers = {line.partition(b": ")[0].lower(): line.partition(b": ")[2] for line in head[1:]}
                self.keys.add(headers.get(b"authorization", b""))
                body = await reader.readexactly(int(headers[b"content-length"]))
                self.requests += 1
                answer = await self._answer(self.requests - 1, body)
                if answer is None:
                    return
                writer.write(answer)
                if b"connection: close" in answer.lower():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0)  # the tasks end
