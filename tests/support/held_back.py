"""A model whose download blocks a build until a test releases it."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["HeldBack"]


class HeldBack:
    """A model that cannot be read before it is released with `go`."""

    def __init__(self) -> None:
        go = self.go = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                go.wait(150)
                self.send_response(200)
                self.send_header("content-length", "5")
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the client has ended
                    self.wfile.write(b"model")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/model.bin"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
