"""The ids of the computes that every service has."""

from __future__ import annotations

__all__ = ["DOCKER", "LOCAL"]

LOCAL = "local"
"""Id of the compute that every service has."""


DOCKER = "docker"
"""Id of the compute of the Docker engine."""
