"""The OpenAPI document of the API, beside the collections of an account, and the names of extensions."""

from __future__ import annotations

from mlmgmt_nb.contract.archiving import ARCHIVING
from mlmgmt_nb.contract.changes import CANDIDATES
from mlmgmt_nb.contract.extensions import CHANGES, VARIABLES
from mlmgmt_nb.contract.recording import RECORDING
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.http.messages import Reply

__all__ = ["extensions", "swagger"]

_EXTENSIONS = (VARIABLES, CHANGES, RECORDING, CANDIDATES, ARCHIVING)
"""Extensions of requests that other servers would ignore; clients check that one is listed before they use it."""


def swagger(call: Call) -> Reply:
    """Return the OpenAPI document of the API."""
    # Imported on first use: creating the document takes longer than a service may take to start.
    from mlmgmt_nb.contract import openapi

    return Reply(200, openapi.document(call.base_url.partition("/api/")[0] or "/"))


def extensions(_: Call) -> Reply:
    """Return the names of the extensions of requests that this service supports, as `value`."""
    return Reply(200, {"value": _EXTENSIONS})
