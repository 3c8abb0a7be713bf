"""The OpenAPI document of the API, beside the collections of an account."""

from __future__ import annotations

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.http.messages import Reply

__all__ = ["swagger"]


def swagger(call: Call) -> Reply:
    """Return the OpenAPI document of the API."""
    # Imported on first use: creating the document takes longer than a service may take to start.
    from mlmgmt_nb.contract import openapi

    return Reply(200, openapi.document(call.base_url.partition("/api/")[0] or "/"))
