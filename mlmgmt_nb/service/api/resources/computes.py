"""The computes of this service and their availability. An extension."""

from __future__ import annotations

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.http.messages import Reply

__all__ = ["list_"]


def list_(call: Call) -> Reply:
    """Return the computes as `value`: `id`, `state` (`ready` or `unavailable`), and the `reason` if not ready."""
    return Reply(200, {"value": call.backend.computes()})
