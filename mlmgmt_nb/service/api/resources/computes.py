"""The computes of this service, and whether they can be used now. An extension of ours."""

from __future__ import annotations

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.http.messages import Reply

__all__ = ["list_"]


def list_(call: Call) -> Reply:
    """Return the computes, as `value`: `id`, `state` (`ready` or `unavailable`), and the `reason` why it is not ready."""
    return Reply(200, {"value": call.backend.computes()})
