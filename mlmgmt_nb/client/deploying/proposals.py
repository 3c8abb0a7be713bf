"""Proposals of changes, from models and files to a candidate of the service."""

from __future__ import annotations

from typing import Any, Unpack

from mlmgmt_nb.client.bodies import ServiceSettings, check_keywords
from mlmgmt_nb.client.computes import Computes
from mlmgmt_nb.client.deploying.account import Account
from mlmgmt_nb.client.deploying.arguments import DeployArguments, SourceArguments, source_of
from mlmgmt_nb.client.deploying.flow import BuiltImage, DeployFlow
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.services import Services
from mlmgmt_nb.client.services.candidates import ProposedChange
from mlmgmt_nb.contract import Image, ServiceResponse
from mlmgmt_nb.errors import UsageError

__all__ = ["AccountServices"]


class AccountServices(Services):
    """The services of a workspace, with changes proposed from models and files.

    Args:
        account: the workspace.
    """

    def __init__(
        self, account: Account, transport: Transport, operations: Operations, computes: Computes, compute: str
    ) -> None:
        super().__init__(transport, operations, computes, compute)
        self._account = account

    def propose(
        self,
        service: ServiceResponse | str,
        *,
        image: Image | str | None = None,
        timeout: float | None = None,
        **arguments: Unpack[DeployArguments],
    ) -> ProposedChange:
        """Run a changed service beside the current one, and return when it runs. Nothing is changed yet.

        Example:
            >>> change = ws.services.propose("iris", model="iris.pkl", driver="score.py", num_replicas=2)
            >>> change.run([[5.1, 3.5, 1.4, 0.2]])
            [0]
            >>> change.discard()
            True

        Args:
            service: the service.
            image: the image, or its id. Without it, the arguments describe the source of an image as for
                `Workspace.deploy`; without either, only settings change.
            timeout: maximum seconds to wait (default: unlimited).
            **arguments: the source and the settings, see `Workspace.deploy`. Other settings are those of the service.

        Raises:
            UsageError: an argument is wrong, or the server does not support candidates. Nothing was sent.
            PackagingError: the answers of the package or of the candidate differ from those of the object.
            ConflictError: no deployment serves, or the compute of the service has no room.
            OperationFailed: the build failed, or the candidate did not start.
            NotFoundError: the service does not exist.
        """
        check_keywords("propose", arguments, DeployArguments.__annotations__)
        settings: Any = {key: arguments[key] for key in ServiceSettings.__annotations__ if key in arguments}  # type: ignore[literal-required]
        source: Any = {key: arguments[key] for key in SourceArguments.__annotations__ if key in arguments}  # type: ignore[literal-required]
        found = self.get(self.id_of(service))
        flow = DeployFlow(self._account, found.name or "", compute_resource_id=_compute_of(found), timeout=timeout)
        if image is not None and source:
            raise UsageError("image: cannot be combined with a source", field="image", fix="Give one of them.")
        flow.check_change(settings)
        built = flow.build(source_of(source)) if source else BuiltImage(image)
        return flow.propose(built, settings, found).result(flow.seconds_left)


def _compute_of(service: ServiceResponse) -> str:
    return (service.compute_resource and service.compute_resource.id) or "local"
