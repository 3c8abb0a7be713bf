"""Keeps secrets out of the service's log, whoever writes to it."""

from __future__ import annotations

import logging

from mlmgmt_nb.redaction import redacted

__all__ = ["configure_logging"]


class _Formatter(logging.Formatter):
    """Formats a record, with its traceback, and takes the secrets out of all of it."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def configure_logging() -> None:
    """Has everything that is logged by this process go to standard error, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
