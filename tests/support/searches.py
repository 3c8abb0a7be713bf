"""Long tests: CI looks everywhere; a run on a user's machine looks for as long as it has patience.

Every feature keeps a test that is not long: of several notebooks, kinds of packages or faults, the first ones.
"""

from __future__ import annotations

import os

import pytest

__all__ = ["IN_CI", "long_search", "thorough"]

IN_CI = os.environ.get("CI") == "true"
"""Whether each test has to run, with its full budget: `CI=true pytest` does the same on a machine of yours."""

long_search = pytest.mark.long_search
"""Mark a test that takes long: it is skipped, with the reason, unless `CI=true`."""


def thorough(in_ci: int, elsewhere: int) -> int:
    """Return how many examples to try, or rounds to run.

    Args:
        in_ci: the number with `CI=true`.
        elsewhere: the number without it.
    """
    return in_ci if IN_CI else elsewhere


def leave_to_ci(items: list[pytest.Item]) -> None:
    """Skip the long searches of a run that is not CI's."""
    for item in items:
        if not IN_CI and item.get_closest_marker("long_search"):
            item.add_marker(pytest.mark.skip(reason="takes long, so CI runs it: CI=true pytest"))


def fail_if_left_out(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail a long search that CI skips, whatever the reason."""
    if IN_CI and report.skipped and item.get_closest_marker("long_search"):
        report.outcome = "failed"
        report.longrepr = f"CI left out a long search: {report.longrepr}"
