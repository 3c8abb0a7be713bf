"""Connections of the front door: which requests a replica may answer itself, and messages that carry connections."""

from __future__ import annotations

import os
import resource
import socket

import pytest

from mlmgmt_nb.scoring.handover.channel import channel_pair, receive, send
from mlmgmt_nb.scoring.handover.heads import plain_head

LINE = b"POST /api/v1/service/iris/score HTTP/1.1\r\n"
HOST = b"Host: 127.0.0.1:8000\r\n"


def test_plain_heads_name_their_service_and_the_end_of_the_request() -> None:
    head = LINE + HOST + b"Content-Length: 3\r\nConnection: Keep-Alive\r\n\r\n"
    for _ in range(2):  # the second time it is known
        assert plain_head(head + b"[1]" + LINE) == (b"iris", len(head), 3)
    query = b"GET /api/v1/service/a.b-c/score?x=1 HTTP/1.1\r\n" + HOST + b"\r\n"
    assert plain_head(query) == (b"a.b-c", len(query), 0)


@pytest.mark.parametrize(
    "head",
    [
        LINE + HOST,  # incomplete
        LINE + b"\r\n",
        LINE + HOST + HOST + b"\r\n",
        LINE + b"Host: \r\n\r\n",
        LINE + b"Host: a b\r\n\r\n",
        LINE + HOST + b"A: " + b"x" * 65536 + b"\r\n\r\n",
        LINE + HOST + b"Content-Length: 1\r\ncontent-length: 2\r\n\r\n",
        LINE + HOST + b"Content-Length: +1\r\n\r\n",
        LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        LINE + HOST + b"Expect: 100-continue\r\n\r\n",
        LINE + HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        LINE + HOST + b"Origin: http://a.example\r\n\r\n",
        LINE + HOST + b"Connection: close, authorization\r\n\r\n",
        LINE + HOST + b"A: 1\r\n 2\r\n\r\n",
        LINE + HOST + b"A : 1\r\n\r\n",
        LINE + HOST + b"A: 1\nB: 2\r\n\r\n",
        LINE + HOST.replace(b"\r\n", b"\n") + b"\r\n\r\n",
        b"\r\n" + LINE + HOST + b"\r\n",
        LINE.replace(b"1.1", b"1.0") + HOST + b"\r\n",
        LINE.replace(b"POST", b"PUT") + HOST + b"\r\n",
        LINE.replace(b"iris", b"iris/candidate") + HOST + b"\r\n",
        LINE.replace(b"iris/score", b"iris") + HOST + b"\r\n",
        LINE.replace(b"iris", b"ir%69s") + HOST + b"\r\n",
        LINE.replace(b"/api", b"http://127.0.0.1:8000/api") + HOST + b"\r\n",
        LINE.replace(b"/service/iris/score", b"/other") + HOST + b"\r\n",
    ],
)
def test_everything_else_is_left_to_the_front_door(head: bytes) -> None:
    assert plain_head(head) is None


def test_a_message_carries_a_connection_and_what_was_read_of_it() -> None:
    front_door, replicas = channel_pair()
    caller, connected = socket.socketpair()
    with front_door, replicas, caller:
        for data in (b"", b"x" * 256_000):
            with connected.dup() as mine:
                send(front_door, mine.fileno(), data)
            descriptor, received = receive(replicas) or (0, b"")
            assert received == data
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
        send(front_door, connected.fileno(), b"")
        connected.close()
        handed = receive(replicas)
        assert handed is not None
        with socket.socket(fileno=handed.descriptor) as connected:
            connected.sendall(b"answer")
        assert caller.recv(10) == b"answer"
        with pytest.raises(BlockingIOError):
            receive(replicas)
        front_door.close()
        assert receive(replicas) is None


def test_a_connection_that_cannot_be_received_does_not_end_the_channel() -> None:
    """A process with too many open files gets the message without its descriptor."""
    front_door, replicas = channel_pair()
    ours, caller = socket.socketpair()
    with front_door, replicas, ours, caller:
        send(front_door, ours.fileno(), b"lost")
        send(front_door, ours.fileno(), b"next")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        first_free = os.dup(ours.fileno())
        os.close(first_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, limits[1]))
        try:
            with pytest.raises(OSError, match="too many open files"):
                receive(replicas)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        handed = receive(replicas)
        assert handed is not None
        os.close(handed.descriptor)
        assert handed.data == b"next"
