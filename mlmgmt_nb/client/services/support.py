"""Support of the server for extensions of the API of 2017."""

from __future__ import annotations

from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.contract.extensions import VARIABLES, ServiceCreate, ServiceUpdate
from mlmgmt_nb.errors import NotFoundError, UsageError

__all__ = ["check_variables"]


def check_variables(transport: Transport, body: ServiceCreate | ServiceUpdate) -> None:
    """Check that the server supports environment variables and secrets, if a request has any.

    Raises:
        UsageError: the server does not.
    """
    if body.environment is None and body.secrets is None:
        return
    try:
        supported = transport.send("GET", "/extensions").json()["value"]
    except NotFoundError:
        supported = ()
    if VARIABLES not in supported:
        raise UsageError(
            "environment: this server does not support environment variables and secrets of services",
            field="environment",
            fix="Leave them out, and have the driver read a file that you give as a dependency.",
        )
