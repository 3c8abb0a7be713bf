"""Values of commands."""

from __future__ import annotations

from mlmgmt_nb.client import LogPart
from mlmgmt_nb.commands.values import LogStream, RequestLogFilter, chosen_lines

LOG = """[mlmgmt] deployed
request one-1: run() failed
Traceback (most recent call last):
  File "score.py", line 2, in run
ValueError: bad
{"request":"one-1","status":500}
request two-2: run() failed
Traceback (most recent call last):
KeyError: 'x'
[one-1] printed for one
{"request":"two-2","status":500}
what the driver printed about one-1
"""


def test_the_traceback_of_a_request_is_about_it() -> None:
    assert chosen_lines(LOG, RequestLogFilter("two-2")).splitlines() == [*LOG.splitlines()[6:9], LOG.splitlines()[10]]
    about_one = chosen_lines(LOG, RequestLogFilter("one-1")).splitlines()
    assert about_one == [*LOG.splitlines()[1:6], "[one-1] printed for one", "what the driver printed about one-1"]
    assert chosen_lines(LOG, RequestLogFilter("three")) == ""


def test_a_traceback_may_come_in_two_parts() -> None:
    about = RequestLogFilter("one-1")
    lines = LOG.splitlines(keepends=True)
    assert chosen_lines("".join(lines[:3]), about) + chosen_lines("".join(lines[3:6]), about) == "".join(lines[1:6])


def test_a_followed_log_comes_in_whole_lines() -> None:
    parts = iter([LogPart("two\nthr", 2), LogPart("", 2), LogPart("ee\n", 3)])
    stream = LogStream(lambda _: next(parts), LogPart("one\n", 1))
    lines = iter(stream)
    assert [next(lines), next(lines), next(lines)] == ["one\n", "two\n", "three\n"]
    stream.stop()
    assert next(lines, None) is None
