"""Support of the server for extensions of the API of 2017."""

from __future__ import annotations

from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.missing import check_supported
from mlmgmt_nb.contract.changes import CANDIDATES
from mlmgmt_nb.contract.extensions import CHANGES, VARIABLES, ServiceCreate, ServiceUpdate
from mlmgmt_nb.contract.recording import RECORDING

__all__ = ["check_candidates", "check_recording", "check_rollback", "check_variables"]


def check_variables(transport: Transport, body: ServiceCreate | ServiceUpdate) -> None:
    """Check that the server supports environment variables, secrets, reasons and recording, if a request has any.

    Raises:
        UsageError: the server does not.
    """
    if body.environment is not None or body.secrets is not None:
        check_supported(
            transport,
            VARIABLES,
            "environment",
            "environment variables and secrets of services",
            "Leave them out, and have the driver read a file that you give as a dependency.",
        )
    if body.reason is not None:
        check_supported(transport, CHANGES, "reason", "reasons of changes", "Leave it out.")
    if body.recording is not None:
        check_recording(transport)


def check_recording(transport: Transport) -> None:
    """Check that the server can record requests.

    Raises:
        UsageError: the server cannot.
    """
    check_supported(
        transport, RECORDING, "recording", "recording of requests", "Leave it out, and use `collect_model_data`."
    )


def check_rollback(transport: Transport) -> None:
    """Check that the server supports rollbacks.

    Raises:
        UsageError: the server does not.
    """
    fix = "Update the service with the earlier image; `ws.deployments.list(service=...)` has its id."
    check_supported(transport, CHANGES, "rollback", "rollbacks", fix)


def check_candidates(transport: Transport) -> None:
    """Check that the server supports candidates of services.

    Raises:
        UsageError: the server does not.
    """
    fix = "Deploy the change as another service, and compare both with `services.test(..., against=...)`."
    check_supported(transport, CANDIDATES, "propose", "candidates of services", fix)
