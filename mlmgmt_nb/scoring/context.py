"""The request that a driver is handling."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["request_id"]

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that `run` is called for; empty outside of requests."""
