"""Components that tests need besides Python packages: a browser, a Docker engine, a database server."""

from __future__ import annotations

from typing import NoReturn

import pytest

from tests.support.searches import IN_CI

__all__ = ["missing"]


def missing(component: str, remedy: str) -> NoReturn:
    """Skip a test (or all tests of a fixture) that cannot run on this machine; in CI, fail it.

    Args:
        component: the missing component.
        remedy: the way to install it.
    """
    reason = f"{component} is not there: {remedy}"
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
