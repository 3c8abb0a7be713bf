"""Rules for the head of a request that apply at every port: one length, one target.

Two programs that parse one head in two ways can be tricked into taking part of a body for a request. So an ambiguous
head is refused, and its connection is closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["FRAMING", "FramingFault", "check_coding", "check_connection", "check_framing", "check_target"]

FRAMING = frozenset({b"transfer-encoding", b"content-length", b"host"})
"""End-to-end headers that define the end and the target of a request: never hop-by-hop."""
_CHECKED = FRAMING | {b"connection"}


class FramingFault(Exception):  # noqa: N818 - the caller's fault; each port answers it in its own form
    """An ambiguous head.

    Args:
        field: the header, or the request target.
        message: the rest of the sentence: what is wrong, and the fix.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def check_framing(headers: Iterable[tuple[bytes, bytes]], target: bytes, version: str) -> None:
    """Check what the parser accepts but must not pass: codings other than `chunked`, and targets on another host.

    Args:
        headers: with names in lower case.
        target: as it was sent.
        version: the HTTP version, such as `1.1`.

    Raises:
        FramingFault: the request must be refused.
    """
    framing = [(name, value.strip(b" \t")) for name, value in headers if name in _CHECKED]
    check_connection(value for name, value in framing if name == b"connection")
    codings = [value for name, value in framing if name == b"transfer-encoding"]
    if len(codings) > 1:
        raise FramingFault("Transfer-Encoding", "is given more than once; send it once.")
    if codings:
        check_coding(codings[0], version, has_length=any(name == b"content-length" for name, _ in framing))
    check_target(target, next((value for name, value in framing if name == b"host"), b""))


def check_connection(values: Iterable[bytes]) -> None:
    """Check that no `Connection` header names a header that a proxy must not drop.

    Raises:
        FramingFault: a header names such a header.
    """
    for value in values:
        for option in value.lower().split(b","):
            if (name := option.strip(b" \t")) in FRAMING:
                raise FramingFault(
                    "Connection", f"names {name.decode()!r}, which is an end-to-end header; leave it out."
                )


def check_coding(coding: bytes, version: str, *, has_length: bool) -> None:
    """Check a `Transfer-Encoding`.

    Raises:
        FramingFault: it is not `chunked` alone, in HTTP/1.1, without a Content-Length.
    """
    if has_length:
        raise FramingFault("Content-Length", "cannot be combined with Transfer-Encoding; leave one out.")
    if coding.lower() != b"chunked" or version == "1.0":
        raise FramingFault("Transfer-Encoding", "is not supported; only 'chunked' is, in HTTP/1.1.")


def check_target(target: bytes, host: bytes) -> None:
    """Check that a request target names no other host than the `Host` header.

    Raises:
        FramingFault: it does, or it has a fragment.
    """
    if b"#" in target:
        raise FramingFault("request target", "has a fragment (#...); leave it out.")
    if not target.startswith((b"/", b"*")):
        authority = re.split(b"[/?]", target.partition(b"://")[2])[0]
        if authority.lower() != host.lower():
            raise FramingFault("request target", "names another host than the Host header.")
