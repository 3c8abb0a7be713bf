"""The end of a service's log in its panel, and the lines of one request."""

from __future__ import annotations

from mlmgmt_nb.client import LogPart
from mlmgmt_nb.notebook.panels.service.log_tail import LogTail

NOTE = (
    '{"time":"2026-11-25T07:26:32.708Z","request":"79148de2","method":"%s","path":"/api/v1/service/iris/%s",'
    '"status":%d,"ms":11.306,"bytesIn":19,"bytesOut":19%s}'
)


class Log:
    """A log that grows."""

    def __init__(self) -> None:
        self.text = ""
        self.tails: list[int | None] = []

    def read(self, offset: int, tail: int | None) -> LogPart:
        self.tails.append(tail)
        return LogPart(self.text[offset:], len(self.text))


def test_only_what_is_new_is_read_and_lines_are_whole() -> None:
    log = Log()
    tail = LogTail(log.read)
    log.text = "one\ntw"
    tail.poll()
    assert list(tail.lines) == ["one"]
    log.text += "o\nthree\n"
    tail.poll()
    assert list(tail.lines) == ["one", "two", "three"]
    assert log.tails[1:] == [None]


def test_lines_of_one_request_have_its_traceback() -> None:
    log = Log()
    tail = LogTail(log.read)
    failed = NOTE % ("POST", "score", 500, ',"code":"DriverError","message":"ValueError: no"')
    other = failed.replace("79148de2", "11111111")
    log.text = f"request 11111111: run() failed\nTraceback: other\n{other}\nrequest 79148de2: run() failed\nTraceback\n"
    tail.poll()
    assert len(tail.lines) == 5
    tail.search(" 79148de2 ")
    assert not tail.lines
    tail.poll()
    assert log.tails[-1] == 20_000, "a request may be long ago"
    log.text += f"{failed}\n{other}\n"
    tail.poll()
    assert list(tail.lines) == ["request 79148de2: run() failed", "Traceback", failed]
    tail.search("")
    tail.poll()
    assert len(tail.lines) == 7


def test_the_log_that_is_kept_is_short() -> None:
    log = Log()
    tail = LogTail(log.read)
    for number in range(3):
        log.text += "".join(f"{number}-{line}\n" for line in range(300))
        tail.poll()
    assert len(tail.lines) == 400
    assert tail.lines[-1] == "2-299"
