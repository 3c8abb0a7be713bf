"""Untrusted text on a terminal: descriptions, logs and errors may contain control characters that a terminal executes.

`printable` escapes them. `Terminal` is a stream that escapes all its text.
"""

from __future__ import annotations

import re
from typing import TextIO

__all__ = ["Terminal", "encodable", "is_printable", "json_printable", "one_line", "printable"]

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of text
    "\u2028\u2029"  # separators of lines and paragraphs
    "\ud800-\udfff"  # lone surrogates, which encodings lack
    "]"
)
_BREAKS = {"\n": "\\n", "\t": " ", "\r": "\\r"}


def is_printable(text: str) -> bool:
    """Return whether a terminal shows the text unchanged, in one line."""
    return not _UNSAFE.search(text) and "\n" not in text and "\t" not in text


def printable(text: str) -> str:
    r"""Return the text with an escape sequence, such as `\x1b`, for each character that a terminal would execute.

    Tabs and line feeds are unchanged. A carriage return, which would overwrite its line, becomes a line feed.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return the text as `printable` does, but in one line: line feeds become `\n`, and tabs become blanks."""
    return _UNSAFE.sub(_escape, re.sub("[\n\t\r]", lambda found: _BREAKS[found[0]], text))


def json_printable(text: str) -> str:
    r"""Return JSON text with the same value, with `\uXXXX` for each character that `printable` escapes."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def encodable(text: str, encoding: str | None) -> str:
    """Return the text with `?` for each character that the encoding lacks."""
    return text if encoding is None else text.encode(encoding, "replace").decode(encoding)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Terminal:
    """A stream for display. It writes unprintable characters as escapes, and characters that its encoding lacks as `?`.

    Args:
        stream: the underlying stream, such as `sys.stdout`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str | None:
        """The encoding of the stream; None for a stream in memory."""
        return getattr(self._stream, "encoding", None)

    def write(self, text: str) -> None:
        """Write a text, and flush the stream."""
        self._put(printable(text))

    def rewrite(self, text: str, end: str = "") -> None:
        """Replace the current line with a text, followed by `end`. The stream must be a terminal."""
        self._put(f"\r{one_line(text)}\033[K{end}")

    def isatty(self) -> bool:
        """Return whether the stream is a terminal, whose lines can be rewritten."""
        return self._stream.isatty()

    def _put(self, text: str) -> None:
        self._stream.write(encodable(text, self.encoding))
        self._stream.flush()
