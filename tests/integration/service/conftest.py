"""Fixtures of the service tests."""

from __future__ import annotations

import uuid

import pytest

from tests.conftest import ServiceProcess


@pytest.fixture
def api(shared_service: ServiceProcess) -> ServiceProcess:
    return shared_service


@pytest.fixture
def name() -> str:
    """Return a name that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"
