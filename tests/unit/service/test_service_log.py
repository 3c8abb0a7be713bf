"""The service's own log: names and URLs of users cannot forge lines of it, or act on the terminal that shows it."""

from __future__ import annotations

import logging
import sys

from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.service.system.service_log import _FORMAT, _Formatter
from mlmgmt_nb.terminal import is_printable

TEXTS = st.text("\x1b[31m\x9b\x07\r\n\t\x00\x7f\u202e\u2066\u2028\ud800é模a=", max_size=40)
FORMATTER = _Formatter(_FORMAT)


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, None) if error else None
    return logging.LogRecord("mlmgmt_nb.x", logging.WARNING, "", 1, message, arguments, trace)


@given(TEXTS)
def test_a_message_is_one_printable_line(text: str) -> None:
    assert is_printable(FORMATTER.format(record("the model %s was refused", text)))
    assert is_printable(FORMATTER.format(record(text)))


@given(TEXTS)
def test_a_traceback_is_printable(text: str) -> None:
    shown = FORMATTER.format(record("failed", error=ValueError(text)))
    assert shown.splitlines()[0].endswith("WARNING mlmgmt_nb.x: failed")
    assert all(is_printable(line) for line in shown.replace("\t", " ").split("\n"))


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        shown = FORMATTER.format(
            logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), (type(error), error, sys.exc_info()[2]))
        )
    assert shown.count("\n") >= 3
