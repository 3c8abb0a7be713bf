"""Distribute tests to processes: tests of a file stay together, and the files that take longest start first."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

__all__ = ["LongestFirst", "check_ids", "number_of_workers", "sort_longest_first"]

_SHARED = ("integration/docker/", "::test_the_one_of_docker", "integration/kubernetes/", "acceptance/panels/")
"""Parts of the ids of tests that share a session fixture that takes long to start."""

LONGEST = (
    "integration/docker/",
    "acceptance/panels/",
    "integration/kubernetes/",
    "tests/acceptance/test_notebooks.py",
    "tests/acceptance/test_state_machine.py",
    "tests/acceptance/test_changes.py",
    "tests/acceptance/test_faults.py",
    "tests/acceptance/test_client_of_2017.py",
    "tests/integration/client/test_flavours.py",
    "tests/unit/packaging/test_package.py",
    "tests/integration/scoring/test_drivers.py",
    "tests/acceptance/test_readme.py",
    "tests/unit/packaging/test_flavours.py",
    "tests/integration/client/test_state_files.py",
    "tests/integration/commands/test_shell.py",
    "tests/integration/scoring/test_framing.py",
    "tests/integration/service/test_requirements.py",
    "tests/integration/service/test_check.py",
    "tests/acceptance/test_schemathesis.py",
    "tests/acceptance/test_faults_of_the_store.py",
    "tests/integration/client/test_packaged_models.py",
    "tests/acceptance/test_several_processes.py",
    "tests/integration/scoring/test_forks.py",
    "tests/integration/scoring/test_http.py",
    "tests/integration/service/test_replicas.py",
    "tests/acceptance/test_examples.py",
    "tests/integration/service/test_scaling.py",
    "tests/integration/notebook/test_kernel.py",
    "tests/integration/service/test_upgrade.py",
    "tests/integration/service/test_access.py",
    "tests/integration/service/test_housekeeping.py",
    "tests/acceptance/test_crash_safety.py",
    "tests/acceptance/test_binder.py",
    "tests/acceptance/test_demo.py",
)
"""Groups of tests that take longest, longest first. `pytest --durations 25` shows the durations."""


def number_of_workers() -> int:
    """Return two per core: tests wait for more than half of their time for processes to start, end or time out."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return 2 * cores


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]
    """Distributes groups of tests in the order of the collection, which `sort_longest_first` determines."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # otherwise the groups are sorted by their number of tests

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def check_ids(items: list[pytest.Item]) -> None:
    """Check that each test has an id of its own: of those with the same id, only one would run.

    Raises:
        UsageError: two tests have the same id.
    """
    counts = Counter(item.nodeid for item in items)
    if repeated := [nodeid for nodeid, count in counts.items() if count > 1]:
        raise pytest.UsageError(f"several tests have the same id: {', '.join(repeated)}")


def sort_longest_first(items: list[pytest.Item]) -> None:
    """Put the longest groups first. The order within a group, and of the other groups, does not change."""
    ranks = {group: rank for rank, group in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(_group(item.nodeid), len(ranks)))


def _group(nodeid: str) -> str:
    """Return the group of a test: its file, or all tests that use the engine, the cluster or JupyterLab."""
    group = next((part for part in _SHARED if part in nodeid), nodeid.partition("::")[0])
    return _SHARED[0] if group == _SHARED[1] else group  # the notebook about Docker uses the same engine
