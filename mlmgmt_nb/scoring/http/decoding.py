"""Decode bodies: undo the content coding, and convert text of any charset to UTF-8."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterator
from functools import lru_cache

from mlmgmt_nb.scoring.errors import RequestError

__all__ = ["Inflater", "as_utf8", "inflater", "is_utf8", "most_encoded"]

_PART = 2**18
_FORMATS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([^"';\s]+)""", re.IGNORECASE)
_TAKEN = re.compile(r"utf-(8|(16|32)(-[lb]e)?)|ascii|iso8859-\d+|cp125\d")
"""Canonical names of the supported charsets. Python's other codecs are rarely used, and some take quadratic time."""
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be"}
_MARKS |= {
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}  # after UTF-32, which starts alike
_FIRSTS = frozenset((b"\xef", b"\xfe", b"\xff", b"\0"))
_UNITS = {b"\0\0\0\1": "utf-32-be", b"\1\0\0\0": "utf-32-le", b"\0\1\0\1": "utf-16-be", b"\1\0\1\0": "utf-16-le"}
"""Positions of the zero bytes in two ASCII characters (in one for UTF-32)."""


class Inflater:
    """An incremental decoder of a content coding; memory stays bounded whatever the data expands to."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._decoder: zlib._Decompress | None = None
        self._begin = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded data in small parts.

        Raises:
            RequestError: 400, the data has another encoding.
        """
        try:
            yield from self._inflate(data)
        except zlib.error as error:
            raise self._bad(str(error)) from None

    def finish(self) -> None:
        """Check that the data is complete.

        Raises:
            RequestError: 400, the data is truncated.
        """
        if self._begin or (self._decoder is not None and not self._decoder.eof):
            raise self._bad("the data is truncated")

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        if self._decoder is None:
            data, self._begin = self._begin + data, b""
            if len(data) < 2:
                self._begin = data
                return
            self._decoder = zlib.decompressobj(self._format(data))
        part = b""
        while data or (
            len(part) == _PART and not self._decoder.eof
        ):  # after a full part, more may be left in the decoder
            if self._decoder.eof:
                self._decoder = self._next_member()
            part = self._decoder.decompress(data, _PART)
            data = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
            if part:
                yield part

    def _next_member(self) -> zlib._Decompress:
        if self._coding == "deflate":
            raise self._bad("extra data follows its end")
        return zlib.decompressobj(_FORMATS["gzip"])

    def _format(self, data: bytes) -> int:
        """Return the window bits of the format; some clients send `deflate` without its zlib header."""
        is_framed = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return _FORMATS[self._coding] if is_framed or self._coding != "deflate" else -zlib.MAX_WBITS

    def _bad(self, reason: str) -> RequestError:
        return RequestError(400, "BadInput", f"the body is not {self._coding} data, as Content-Encoding says: {reason}")


def most_encoded(largest: int) -> int:
    """Return the maximum encoded size of a body with this maximum size: data may decode to nothing forever."""
    return 2 * largest + 1024


def inflater(content_encoding: bytes) -> Inflater | None:
    """Return a decoder for a `Content-Encoding`; None if the body is not encoded.

    Raises:
        RequestError: 415, the encoding is not supported.
    """
    coding = content_encoding.decode("latin-1").strip().lower()
    if coding in {"", "identity"}:
        return None
    if coding not in _FORMATS:
        raise RequestError(
            415,
            "UnsupportedMediaType",
            f"Content-Encoding {coding[:100]!r} is not supported. Use gzip, deflate or none",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return Inflater(coding)


def is_utf8(body: bytes, content_type: bytes) -> bool:
    """Return whether `as_utf8` would not change a body: a cheap check, which may be False for a body that would not
    change."""
    return body[:1] not in _FIRSTS and body[1:2] != b"\0" and _charset(content_type) in {"", "utf-8"}


def as_utf8(body: bytes, content_type: bytes) -> bytes:
    """Return a text as UTF-8 without byte order mark.

    The charset is taken from `Content-Type`, then from a byte order mark or zero bytes; otherwise it is UTF-8, which is
    not validated.

    Raises:
        RequestError: 415 if the charset is not supported, 400 if the text is not valid in it.
    """
    declared = _charset(content_type)
    charset = _python_name(declared) if declared else _detect_charset(body) or "utf-8"
    if charset in {"utf-16", "utf-32"}:
        found = _detect_charset(body)
        if found is None or not found.startswith(charset):
            raise _unsupported(declared, f"without a byte order mark: declare {charset}le or {charset}be")
        charset = found
    if charset in {"utf-8", "ascii"}:
        return body.removeprefix(codecs.BOM_UTF8)
    try:
        return body.decode(charset).removeprefix("\ufeff").encode()
    except UnicodeDecodeError as error:
        message = f"the body is not {(declared or charset).upper()} text: {error.reason} at byte {error.start}"
        raise RequestError(400, "BadInput", message, details=[("BadInput", message)]) from None


@lru_cache(maxsize=256)
def _charset(content_type: bytes) -> str:
    found = _CHARSET.search(content_type.decode("latin-1")) if content_type else None
    return found[1].lower() if found else ""


def _python_name(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        name = ""
    if not _TAKEN.fullmatch(name):
        raise _unsupported(charset, "is not supported. Send UTF-8")
    return name


def _detect_charset(body: bytes) -> str | None:
    """Return the charset that the first bytes reveal."""
    for mark, charset in _MARKS.items():
        if body.startswith(mark):
            return charset
    begin = body[:4] if len(body) != 2 else body * 2
    return _UNITS.get(bytes(byte > 0 for byte in begin))


def _unsupported(charset: str, why: str) -> RequestError:
    return RequestError(415, "UnsupportedMediaType", f"charset {charset[:100]!r} {why}")
