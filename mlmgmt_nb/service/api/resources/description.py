"""The OpenAPI document of the API, beside the account's collections."""

from __future__ import annotations

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.http.messages import Reply

__all__ = ["swagger"]


def swagger(call: Call) -> Reply:
    """Return the OpenAPI document of the API."""
    # Loaded when first asked for: making the document takes longer than starting the service should.
    from mlmgmt_nb.contract import openapi

    return Reply(200, openapi.document(call.base_url.partition("/api/")[0] or "/"))
