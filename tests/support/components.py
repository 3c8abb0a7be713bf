"""Components that tests need besides Python packages: a browser, a Docker engine, a database server."""

from __future__ import annotations

from typing import NoReturn

import pytest

from tests.support.searches import IN_CI

__all__ = ["missing"]


def missing(component: str, remedy: str) -> NoReturn:
    """End a test (or what its fixture begins) that cannot run here: skipped on a user's machine, failed in CI.

    Args:
        component: what is not there.
        remedy: how to get it.
    """
    reason = f"{component} is not there: {remedy}"
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
