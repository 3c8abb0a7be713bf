"""Reports of replays and mirrors say which of both they are."""

from __future__ import annotations

from typing import Literal

import pytest

from mlmgmt_nb.client.replays.pairs import Pairs
from mlmgmt_nb.client.replays.report import ReplayReport
from mlmgmt_nb.load_generator.messages import Outcome


@pytest.mark.parametrize("kind", ["replay", "mirror"])
def test_a_report_has_the_name_of_its_kind(kind: Literal["replay", "mirror"]) -> None:
    pairs = Pairs(0.0)
    pairs.add_pair(Outcome(0, 200, b"1", 200, b"1"), 0.1, 0.1)
    report = ReplayReport(pairs, old="churn", new="churn/candidate", goal=1, kind=kind)
    assert str(report).startswith(f"{kind}: churn -> churn/candidate")
    assert f"<b>{kind.capitalize()}</b>" in report.to_html()
    assert f"<title>{kind.capitalize()} churn" in report.to_page()
    assert report.to_dict()["kind"] == kind
    assert f'"kind": "{kind}"' in report.evidence()
    assert f'name="{kind} churn churn/candidate"' in report.to_junit()
    assert f'classname="{kind}"' in report.to_junit()
    assert ("seconds" in report.summary) == ("seconds" in str(report)) == (kind == "replay")
