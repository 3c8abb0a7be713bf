"""Components that tests need besides Python packages: a browser, a Docker engine, a database server."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["missing"]


def missing(component: str, remedy: str) -> NoReturn:
    """End a test (or what its fixture begins) that cannot run here: skipped on a user's machine, failed in CI.

    Args:
        component: what is not there.
        remedy: how to get it.
    """
    reason = f"{component} is not there: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
