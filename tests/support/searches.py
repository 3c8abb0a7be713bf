"""Long tests: CI runs all of them with the full number of examples; other runs skip or shorten them.

Every feature keeps a short test: the first of several notebooks, kinds of packages or faults.
"""

from __future__ import annotations

import os

import pytest

__all__ = ["IN_CI", "long_search", "thorough"]

IN_CI = os.environ.get("CI") == "true"
"""Whether all tests run, with their full budget. `CI=true pytest` does this on any machine."""

long_search = pytest.mark.long_search
"""Marks a test that takes long: it is skipped, with the reason, unless `CI=true`."""


def thorough(in_ci: int, elsewhere: int) -> int:
    """Return the number of examples to try, or of rounds to run.

    Args:
        in_ci: the number with `CI=true`.
        elsewhere: the number without it.
    """
    return in_ci if IN_CI else elsewhere


def leave_to_ci(items: list[pytest.Item]) -> None:
    """Skip long searches unless this is a run of CI."""
    for item in items:
        if not IN_CI and item.get_closest_marker("long_search"):
            item.add_marker(pytest.mark.skip(reason="takes long, so CI runs it: CI=true pytest"))


def fail_if_left_out(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail a long search that was skipped in CI, whatever the reason."""
    if IN_CI and report.skipped and item.get_closest_marker("long_search"):
        report.outcome = "failed"
        report.longrepr = f"CI left out a long search: {report.longrepr}"
