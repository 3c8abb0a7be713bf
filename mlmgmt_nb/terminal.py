"""Text of others on a terminal: descriptions, logs and errors may hold control characters that a terminal obeys.

`printable` is the one place that makes them harmless; `Terminal` is a stream that passes all its text through it.
"""

from __future__ import annotations

import re
from typing import TextIO

__all__ = ["Terminal", "encodable", "is_printable", "json_printable", "one_line", "printable"]

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of text
    "\u2028\u2029"  # separators of lines and paragraphs
    "\ud800-\udfff"  # halves of characters, which no encoding has
    "]"
)
_BREAKS = {"\n": "\\n", "\t": " ", "\r": "\\r"}


def is_printable(text: str) -> bool:
    """Return whether a terminal shows the text unchanged, in one line."""
    return not _UNSAFE.search(text) and "\n" not in text and "\t" not in text


def printable(text: str) -> str:
    r"""Return the text without what a terminal would obey: each such character is shown as its escape, such as `\x1b`.

    Tabs and line feeds stay; a carriage return, which would overwrite its line, ends it instead.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""As `printable`, in one line: line feeds are shown as `\n`, too, and tabs as blanks."""
    return _UNSAFE.sub(_escape, re.sub("[\n\t\r]", lambda found: _BREAKS[found[0]], text))


def json_printable(text: str) -> str:
    r"""JSON text with the same value whose strings hold only what `printable` lets through, else `\uXXXX`."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def encodable(text: str, encoding: str | None) -> str:
    """Return the text with a `?` for each character that the encoding lacks."""
    return text if encoding is None else text.encode(encoding, "replace").decode(encoding)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Terminal:
    """A stream for people: writes only what is printable, and what its encoding lacks as `?`.

    Args:
        stream: where the text goes, such as `sys.stdout`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str | None:
        """The encoding of the stream; None for one in memory."""
        return getattr(self._stream, "encoding", None)

    def write(self, text: str) -> None:
        """Write a text, and flush it."""
        self._put(printable(text))

    def rewrite(self, text: str, end: str = "") -> None:
        """Put a text in the place of the line that is there; for streams that are terminals."""
        self._put(f"\r{one_line(text)}\033[K{end}")

    def isatty(self) -> bool:
        """Return whether it is a terminal, whose lines can be rewritten."""
        return self._stream.isatty()

    def _put(self, text: str) -> None:
        self._stream.write(encodable(text, self.encoding))
        self._stream.flush()
