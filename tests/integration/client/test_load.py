"""The load of scoring tests against servers that are told what to do: slow, unkind, or gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import psutil
import pytest
import trustme

from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.client.scoring_tests.cases import cases_of
from mlmgmt_nb.client.scoring_tests.options import LoadOptions
from mlmgmt_nb.client.scoring_tests.test import ScoringTest
from mlmgmt_nb.errors import MlmgmtError
from mlmgmt_nb.load_generator.messages import Target
from tests.integration.client.scripted import ScriptedServer, plain
from tests.support.waiting import DEADLINE, eventually

NUMBERS = [[n] for n in range(10)]


def loaded(url: str, check: Any = None, **options: Unpack[LoadOptions]) -> ScoringTest:
    nobody: Any = None
    return ScoringTest(Scorer(nobody, url, "canary-key"), cases_of(NUMBERS, {}, None), check=check, **options)


async def echo(_: int, body: bytes) -> bytes:
    return plain(body)


def test_requests_are_the_cases_in_turn_from_all_processes() -> None:
    with ScriptedServer(echo) as server:
        report = loaded(server.url, requests=205, concurrency=4, processes=2).run()
    assert report.summary["requests"] == report.summary["answered"] == server.requests == 205
    assert server.connections == 4
    assert server.keys == {b"Bearer canary-key"}
    counts = report.results["case"].value_counts().to_dict()
    assert counts == {case: 21 if case < 5 else 20 for case in range(10)}
    assert report.results["answer"].tolist() == [NUMBERS[case] for case in report.results["case"]]


@pytest.mark.parametrize(
    "unkind",
    [
        pytest.param(lambda body: plain(body, "200 OK", "Connection: close"), id="closes"),
        pytest.param(
            lambda body: (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"".join(b"1\r\n%c\r\n" % byte for byte in body)
                + b"0\r\n\r\n"
            ),
            id="chunks",
        ),
        pytest.param(lambda body: b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), id="old"),
    ],
)
def test_other_ways_to_answer(unkind: Callable[[bytes], bytes]) -> None:
    async def answer(_: int, body: bytes) -> bytes:
        return unkind(body)

    with ScriptedServer(answer) as server:
        report = loaded(server.url, requests=20, concurrency=2).run()
    assert report.failures == []
    assert sorted(report.results["answer"].tolist()) == sorted(NUMBERS * 2)


def test_tls_believes_whom_requests_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedServer(echo, tls) as server:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        refused = loaded(server.url).run()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        report = loaded(server.url, requests=50, concurrency=2).run()
    assert refused.summary["errored"] == 10
    assert "certificate verify failed" in refused.failures[0].error
    assert report.summary["answered"] == 50
    assert report.failures == []


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    async def answer(number: int, body: bytes) -> bytes | None:
        return None if number % 3 == 2 else plain(body)

    with ScriptedServer(answer) as server:
        report = loaded(server.url).run()
    assert report.summary["answered"] == 10
    assert server.connections > 3


def test_a_connection_that_is_closed_at_once_is_an_error() -> None:
    async def answer(_: int, body: bytes) -> bytes | None:
        return None

    with ScriptedServer(answer) as server:
        report = loaded(server.url).run()
    assert report.summary["errored"] == 10
    assert report.failures[0].error == "no answer: the connection was closed"


def test_what_is_no_http() -> None:
    async def answer(_: int, body: bytes) -> bytes:
        return b"SSH-2.0-OpenSSH_9.2\r\n"

    with ScriptedServer(answer) as server:
        report = loaded(server.url).run()
    assert report.summary["errored"] == 10
    assert "not HTTP" in report.failures[0].error


def test_a_service_that_is_gone_does_not_make_it_spin() -> None:
    with ScriptedServer(echo) as server:
        url = server.url
    report = loaded(url, duration=0.5, concurrency=2).run()
    assert report.summary["errored"] == report.summary["requests"]
    assert 1 <= report.summary["requests"] < 50
    assert report.failures[0].error.startswith("no connection: ")
    assert report.summary["client_share"] < 0.8


def test_an_answer_that_does_not_come() -> None:
    async def answer(number: int, body: bytes) -> bytes:
        if number == 4:
            await asyncio.sleep(60)  # much longer than the timeout of the test
        return plain(body)

    with ScriptedServer(answer) as server:
        report = loaded(server.url, timeout=3).run()
    assert report.summary["answered"] == 9
    (missing,) = report.failures
    assert (missing.case, missing.status, missing.error) == (4, 0, "no answer within 3 s")
    assert missing.seconds >= 3


def test_a_slow_answer_does_not_hide_those_that_it_held_up() -> None:
    async def answer(number: int, body: bytes) -> bytes:
        if number == 10:
            await asyncio.sleep(2)  # the slow answer
        return plain(body)

    with ScriptedServer(answer) as server:
        report = loaded(server.url, requests=100, rate=100.0).run()
    late = report.results.query("seconds > 0.1")
    # Due while the one connection waited: all that follow, each by more than a second.
    assert len(late) >= 90
    assert report.summary["p90_ms"] > 100
    assert report.results["at"].tolist() == pytest.approx([number / 100 for number in range(100)])
    with ScriptedServer(answer) as server:
        callers = loaded(server.url, requests=100).run()
    assert len(callers.results.query("seconds > 1.9")) == 1  # a caller that waits for its answer sees one


def test_each_different_answer_is_judged_once() -> None:
    judged: list[tuple[Any, Any]] = []

    def check(given: Any, answer: Any) -> bool:
        judged.append((given, answer))
        return bool(given == answer)

    with ScriptedServer(echo) as server:
        report = loaded(server.url, check=check, requests=200, concurrency=2).run()
    assert report.summary["passed"] == 200
    assert sorted(judged) == [(given, given) for given in NUMBERS]


def test_large_answers_that_all_differ_are_not_all_kept() -> None:
    size = 2**20

    async def answer(number: int, body: bytes) -> bytes:
        return plain(b'"%08d' % number + b"x" * size + b'"')

    with ScriptedServer(answer) as server:
        report = loaded(server.url, requests=60).run()
    answers = report.results["answer"]
    assert report.summary["answered"] == 60
    assert len(answers[0]) == size + 8
    assert answers[59].startswith("00000059xxx")
    assert answers[59].endswith("(not kept whole)")
    assert sum(map(len, answers)) < 20 * size


def _is_generator(process: psutil.Process) -> bool:
    try:
        return "mlmgmt_nb.load_generator" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def test_it_can_be_stopped_and_keeps_what_there_is() -> None:
    with ScriptedServer(echo) as server:
        test = loaded(server.url, duration=120, rate=200.0)
        test.start()
        eventually(lambda: test.store.numbers.requests >= 20)
        assert not test.done()
        with pytest.raises(MlmgmtError, match="still running"):
            test.result(0.0)
        assert test.report().partial
        test.stop()
        report = test.result(30)
    assert report.partial
    assert report.summary["answered"] == report.summary["requests"] >= 20
    assert not [child for child in psutil.Process().children() if _is_generator(child)]


def test_stopping_does_not_wait_for_an_answer_that_does_not_come() -> None:
    async def answer(_: int, body: bytes) -> bytes:
        await asyncio.sleep(600)  # longer than any test
        return plain(body)

    with ScriptedServer(answer) as server:
        test = loaded(server.url, requests=1)
        test.start()
        eventually(lambda: server.requests)
        test.stop()
        report = test.result(DEADLINE)
    assert report.summary["requests"] == 0


def test_an_interrupt_does_not_wait_for_a_check_that_takes_its_time() -> None:
    release = threading.Event()

    def check(given: Any, answer: Any) -> bool:
        return release.wait(60)

    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with ScriptedServer(echo) as server:
        report = loaded(server.url, check=check).run(interrupt)
    assert report.partial
    assert report.summary["requests"] == 0
    release.set()
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("scoring-test")])


ALONE = """
import sys
from mlmgmt_nb.client.scoring import Scorer
from mlmgmt_nb.client.scoring_tests.cases import cases_of
from mlmgmt_nb.client.scoring_tests.test import ScoringTest

ScoringTest(Scorer(None, sys.argv[1], "canary-key"), cases_of([[1]], {}, None), duration=120, rate=50.0).run()
"""


def test_the_processes_end_with_the_kernel_and_show_no_key() -> None:
    with ScriptedServer(echo) as server:
        kernel = subprocess.Popen([sys.executable, "-c", ALONE, server.url])
        try:
            eventually(lambda: server.requests > 5)
            (sender,) = psutil.Process(kernel.pid).children()
            assert "canary-key" not in " ".join(sender.cmdline())
            assert os.getpgid(sender.pid) != os.getpgid(kernel.pid)  # an interrupt is for the kernel
        finally:
            kernel.send_signal(signal.SIGKILL)
            kernel.wait()
        eventually(lambda: not sender.is_running())
    assert "canary-key" not in repr(Target(server.url, "canary-key"))


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(MlmgmtError, match="has ended: ValueError: Invalid IPv6 URL"):
        loaded("http://[::1", requests=1).run()


def test_what_it_says_of_itself() -> None:
    with ScriptedServer(echo) as server:
        summary = loaded(server.url, requests=300, concurrency=3).run().summary
    assert 0 < summary["client_share"] <= 1.05
    assert 0 < summary["client_ms_per_request"] < 50
    assert summary["requests_per_second"] == pytest.approx(300 / summary["seconds"], rel=0.25)
    assert json.dumps(dict(summary))
