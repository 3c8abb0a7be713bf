"""The service's own log: on standard error, or in a file of limited size.

Secrets are removed from all records, including those of libraries, which log URLs and headers when they fail.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
from pathlib import Path

from mlmgmt_nb.redaction import redacted
from mlmgmt_nb.terminal import one_line, printable

__all__ = ["log_to"]

MOST_BYTES = 8 * 2**20
KEPT_FILES = 3
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to(path: Path | None) -> None:
    """Start logging.

    Args:
        path: the file, which also receives other output of the process on standard output and error; None for a service
            in the foreground.
    """
    handler = _File(path) if path is not None else logging.StreamHandler()
    handler.setFormatter(_Formatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _Formatter(logging.Formatter):
    """Formats a record as one line and its traceback, both printable and without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(printable(super().format(record)))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = one_line(record.message)  # names and URLs of users must not start a new line
        return super().formatMessage(record)


class _File(logging.handlers.RotatingFileHandler):
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(path, maxBytes=MOST_BYTES, backupCount=KEPT_FILES, encoding="utf-8")

    def doRollover(self) -> None:  # noqa: N802 - logging's name
        super().doRollover()
        # A traceback of the interpreter itself, and the output of child processes, belong in the current file.
        if self.stream is not None:
            for descriptor in (1, 2):
                os.dup2(self.stream.fileno(), descriptor)
