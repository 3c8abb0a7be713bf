"""JUnit XML of reports: a test for each case, or a gate as the only test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from mlmgmt_nb.client.scoring_tests.gate import Verdict

__all__ = ["TestCase", "gate_junit", "junit"]


class TestCase(NamedTuple):
    """A test. `kind` is `failure`, `error` or `skipped`; it is empty for a test that passed, which has no message."""

    name: str
    classname: str
    seconds: float
    kind: str = ""
    message: str = ""


def junit(name: str, seconds: float, tests: Sequence[TestCase], output: str = "") -> str:
    """Return JUnit XML.

    Args:
        name: name of the suite.
        seconds: duration of the suite.
        tests: its tests.
        output: standard output of each test.
    """
    counts = {kind: sum(test.kind == kind for test in tests) for kind in ("failure", "error", "skipped")}
    suite = ElementTree.Element(
        "testsuite",
        name=name.strip(),
        tests=str(len(tests)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{seconds:.3f}",
    )
    for test in tests:
        element = ElementTree.SubElement(
            suite, "testcase", name=_xml(test.name), classname=test.classname, time=f"{test.seconds:.6f}"
        )
        if test.kind:
            ElementTree.SubElement(element, test.kind, message=_xml(test.message))
        if output:
            ElementTree.SubElement(element, "system-out").text = _xml(output)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def gate_junit(name: str, seconds: float, verdict: Verdict) -> str:
    """Return JUnit XML with a gate as the only test. A gate that is inconclusive has not passed."""
    kind = "" if verdict.outcome == "passed" else "failure"
    return junit(name, seconds, [TestCase(verdict.gate, "gate", seconds, kind, str(verdict))], str(verdict))


def _xml(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return "".join(c if c in "\t\n\r" or ord(c) >= 32 else "\ufffd" for c in text)
