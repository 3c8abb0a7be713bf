"""Replays to two HTTP servers: order, headers, and what the report says of answers, errors, fields and classes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree

import pytest

from mlmgmt_nb.client.replays.replay import Endpoint, replay
from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.errors import ScoringTestFailed, UsageError

Answer = Callable[[Any], tuple[int, Any]]
Seen = list[tuple[str, Any, dict[str, str]]]


@contextmanager
def server(name: str, answer: Answer, seen: Seen) -> Iterator[Endpoint]:
    """Serve JSON answers to POST, and note what arrives."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((name, body, {key.lower(): value for key, value in self.headers.items()}))
            status, content = answer(body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield Endpoint(name, f"http://127.0.0.1:{http.server_port}/score", f"key of {name}", lambda: len(name) * 10**6)
        http.shutdown()
        thread.join()


def replayed(old: Answer, new: Answer, bodies: list[Any], **options: Any) -> tuple[ReplayReport, Seen]:
    seen: Seen = []
    with ExitStack() as stack:
        left, right = (stack.enter_context(server(name, one, seen)) for name, one in (("old", old), ("newer", new)))
        report = replay(left, right, [json.dumps(body).encode() for body in bodies], **options)
    return report, seen


def test_both_get_every_request_and_neither_is_favored() -> None:
    report, seen = replayed(lambda body: (200, body), lambda body: (200, body), list(range(40)))
    firsts = [name for name, _, _ in seen[::2]]
    assert firsts.count("old") == firsts.count("newer") == 20
    assert [body for _, body, _ in seen] == [number for number in range(40) for _ in range(2)]
    assert {headers["x-mlmgmt-copy"] for _, _, headers in seen} == {"replay"}
    assert {(name, headers["authorization"]) for name, _, headers in seen} == {
        ("old", "Bearer key of old"),
        ("newer", "Bearer key of newer"),
    }
    assert report.summary["equal"] == 40
    assert (report.numbers["memory"].value, report.numbers["old.memory"].value) == (5.0, 3.0)
    assert len(report.results) == 40
    assert set(report.results["state"]) == {"equal"}
    assert (report.results[["old_seconds", "new_seconds"]] > 0).all(axis=None)
    assert report.to_frame().empty


def old_model(body: int) -> tuple[int, Any]:
    return (400, {"message": "no"}) if body % 50 == 7 else (200, [{"label": "ab"[body % 2], "p": body, "old": 1}])


def new_model(body: int) -> tuple[int, Any]:
    if body % 25 == 7:
        return 500, {"message": "<b>broken</b>"}
    return 200, [
        {"label": "b" if body < 10 else "ab"[body % 2], "p": body + (0.5 if body % 10 == 0 else 1e-9), "old": 1}
    ]


def test_differences_errors_fields_and_classes() -> None:
    report, _ = replayed(old_model, new_model, list(range(100)), tolerance=1e-6, concurrency=4)
    summary = report.summary
    assert [summary[name] for name in ("requests", "errors", "old.errors", "lost")] == [100, 4, 2, 2]
    assert summary["different"] == 14  # labels of 0, 2, 4, 6 and 8, and numbers of 0, 10, ... 90
    frame = report.to_frame()
    assert frame["case"].is_monotonic_increasing
    assert frame["case"].tolist()[:3] == [0, 2, 4]
    assert frame["fields"].tolist()[:2] == [["label", "p"], ["label"]]
    assert frame["old"].tolist()[1] == [{"label": "a", "p": 2, "old": 1}]
    lost = frame[frame["new_error"] != ""]
    assert lost["case"].tolist() == [32, 82]
    assert lost["new_error"].tolist() == ["500: <b>broken</b>"] * 2
    fields: dict[str, Any] = {row["field"]: row for row in report.fields.to_dict("records")}
    assert {name: (row["values"], row["moved"]) for name, row in fields.items()} == {
        "label": (96, 5),
        "p": (96, 10),
        "old": (96, 0),
    }
    assert fields["p"]["shift"] == pytest.approx(10 * 0.5 / 96, rel=1e-3)
    assert fields["p"]["shift_low"] < fields["p"]["shift"] < fields["p"]["shift_high"]
    assert fields["p"]["largest_shift"] == 0.5
    assert report.classes("label").to_numpy().tolist() == [[43, 5], [0, 48]]
    assert report.classes("p").empty
    assert report.classes("unknown").empty
    assert "label: 5 of 96 moved" in str(report)
    assert "&lt;b&gt;broken" in report.to_html()
    assert "<b>broken" not in report.to_page()
    tests = ElementTree.fromstring(report.to_junit())
    assert (tests.get("tests"), tests.get("failures"), tests.get("errors")) == ("100", "14", "2")


def test_junit_tells_apart_who_did_not_answer() -> None:
    """Also of more requests than a report keeps."""

    def old(body: Any) -> tuple[int, Any]:
        return (500, "old") if body >= 1200 else (200, 1)

    def new(body: Any) -> tuple[int, Any]:
        return (500, "new") if body >= 100 else (200, 1)

    report, _ = replayed(old, new, list(range(1250)), concurrency=4)
    tests = ElementTree.fromstring(report.to_junit())
    counts = [tests.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["1250", "0", "1100", "50"]
    messages = {one.get("message") for one in tests.iter("error")}
    assert "one side did not answer" in messages
    assert {one.get("message") for one in tests.iter("skipped")} == {"neither side answered"}


@pytest.mark.parametrize(
    ("old", "new"),
    [(10**400, 1), (10**400, 10**400), (1, -(10**400))],
)
def test_numbers_that_are_too_large_for_a_float_are_compared(old: int, new: int) -> None:
    report, _ = replayed(lambda _: (200, {"n": old}), lambda _: (200, {"n": new}), [1] * 3)
    assert report.summary["equal"] == (3 if old == new else 0)


def test_gates_have_three_verdicts_with_values_and_sample_sizes() -> None:
    report, _ = replayed(old_model, new_model, list(range(100)), tolerance=1e-6)
    failed = report.gate("lost == 0 and agree >= 0.5")
    assert str(failed).startswith("gate failed: lost == 0 and agree >= 0.5 [")
    assert "lost = 2" in str(failed)
    assert "100 requests" in str(failed)
    assert report.gate("agree >= 0.5 and old.errors == 2").outcome == "passed"
    assert report.gate("agree >= 0.9").outcome == "inconclusive"
    with pytest.raises(ScoringTestFailed, match="gate failed"):
        report.assert_gate("errors == 0")
    with pytest.raises(UsageError, match="`nothing` is not known"):
        report.gate("nothing == 0")
    verdict = report.gate("lost <= 2")
    assert ElementTree.fromstring(report.to_junit(verdict)).get("failures") == "0"
    evidence = report.to_dict(verdict)
    assert json.loads(json.dumps(evidence)) == evidence
    assert (evidence["outcome"], evidence["numbers"]["lost"]) == ("passed", [2.0, 2.0, 2.0])


def test_a_function_is_a_gate() -> None:
    report, _ = replayed(old_model, new_model, list(range(30)))

    def labels_stay(report: ReplayReport) -> bool:
        changed = int(report.classes("label").to_numpy()[0, 1])
        if changed:
            raise AssertionError(f"{changed} labels changed")
        return True

    verdict = report.gate(labels_stay)
    assert (verdict.gate, verdict.outcome, verdict.reason) == ("labels_stay", "failed", "5 labels changed")
    assert verdict.numbers["requests"].value == 30
    assert report.gate(lambda one: one.summary["lost"] == 0).outcome == "passed"
    assert report.gate(lambda one: None).outcome == "inconclusive"
    with pytest.raises(UsageError, match="returned 'yes'"):
        report.gate(lambda one: "yes")  # type: ignore[arg-type,return-value]


def test_no_gate_decides_on_few_requests() -> None:
    report, _ = replayed(lambda body: (200, 1), lambda body: (200, 1), [1] * 19)
    for gate in ("errors == 0", "lost == 0", lambda report: True):
        verdict = report.gate(gate)
        assert (verdict.outcome, verdict.reason) == ("inconclusive", "at least 20 requests are needed")


def test_a_side_that_does_not_answer_is_an_error_of_that_side() -> None:
    with server("old", lambda body: (200, 1), []) as old:
        report = replay(old, Endpoint("gone", "http://127.0.0.1:9/score"), [b"1"] * 3, timeout=5)
    assert [report.summary[name] for name in ("errors", "old.errors", "lost")] == [3, 0, 3]
    with pytest.raises(UsageError, match="list of requests to replay is empty"):
        replay(old, old, [])
