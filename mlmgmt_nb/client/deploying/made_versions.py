"""The versions that a deployment makes: if it fails, those that nothing uses are withdrawn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar

from mlmgmt_nb.client.images import Images
from mlmgmt_nb.client.manifests import Manifests
from mlmgmt_nb.client.models import Models
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.contract import Image, Manifest, Model
from mlmgmt_nb.errors import ApiError, MlmgmtError, OperationError, OperationTimeout, TransportError

__all__ = ["MadeVersions"]

Version = TypeVar("Version", Model, Manifest, Image)


class _Account(Protocol):
    models: Models
    manifests: Manifests
    images: Images
    operations: Operations


class _Made(NamedTuple):
    kind: str
    resource: Model | Manifest | Image
    withdraw: Callable[[str], None]

    def __str__(self) -> str:
        return f"{self.kind} {self.resource.name!r} version {self.resource.version}"


class MadeVersions:
    """The versions that one deployment made, in the order in which they were made.

    Args:
        account: their account.
    """

    def __init__(self, account: _Account) -> None:
        self._account = account
        self._made: list[_Made] = []
        self._reused: set[str | None] = set()
        self._outcome = ""

    def reuse(self, resource: Model | Manifest) -> None:
        """Note a version that existed before."""
        self._reused.add(resource.id)

    def add(self, resource: Version) -> Version:
        """Note a version, unless it existed before, and return it."""
        if resource.id not in self._reused:
            self._made.append(self._of(resource))
        return resource

    def _of(self, resource: Model | Manifest | Image) -> _Made:
        match resource:
            case Model():
                return _Made("model", resource, self._account.models.withdraw)
            case Manifest():
                return _Made("manifest", resource, self._account.manifests.withdraw)
            case Image():
                return _Made("image", resource, self._account.images.withdraw)

    def hand_over(self, operation_id: str, *, builds: bool = False) -> None:
        """Let the server withdraw the versions if an operation fails, because this process may not wait for it.

        If the server does not support that, a poller that waits withdraws them.

        Args:
            operation_id: the operation.
            builds: whether it builds an image, which is withdrawn too.
        """
        if not self._made and not builds:
            return
        with contextlib.suppress(ApiError, TransportError):
            self._account.operations.withdraw_on_failure(operation_id, [made.resource.id or "" for made in self._made])

    @contextmanager
    def withdrawn_on_failure(self) -> Iterator[None]:
        """Withdraw the versions if the block raises. An operation that is still running continues to use them."""
        try:
            yield
        except OperationTimeout:
            raise
        except MlmgmtError as error:
            self.withdraw(error)
            raise

    def withdraw(self, error: MlmgmtError) -> None:
        """Withdraw the versions, last first, and add the outcome to the message of the error."""
        if _is_withdrawn(error):
            self._made.clear()
            return
        if not self._outcome:
            self._add_failed_image(error)
        if self._made:
            self._outcome = self._withdrawn(is_reachable=not isinstance(error, TransportError))
            self._made.clear()
        if self._outcome and self._outcome not in error.message:
            error.message = f"{error.message}\n{self._outcome}"

    def _add_failed_image(self, error: MlmgmtError) -> None:
        """Note the image whose build failed; it was not known before."""
        operation = error.operation if isinstance(error, OperationError) else None
        if operation is not None and operation.operation_type == "Image" and operation.resource_location:
            with contextlib.suppress(MlmgmtError):
                self.add(self._account.images.get(operation.resource_location.rpartition("/")[2]))

    def _withdrawn(self, *, is_reachable: bool) -> str:
        """Withdraw the versions that can be withdrawn, and return the outcome as text."""
        gone, left = list[str](), list[str]()
        for made in reversed(self._made):
            (gone if is_reachable and _succeeds(made) else left).append(str(made))
        parts = [f"{', '.join(gone)} {_were(gone)} withdrawn"] if gone else []
        parts += [f"{', '.join(left)} {_were(left)} left behind"] if left else []
        return "; ".join(parts)


def _is_withdrawn(error: MlmgmtError) -> bool:
    """Return whether the server withdrew the versions when the operation failed. Its error names them."""
    operation = error.operation if isinstance(error, OperationError) else None
    details = operation.error.details if operation is not None and operation.error is not None else None
    return any(detail.code == "Withdrawn" for detail in details or ())


def _succeeds(made: _Made) -> bool:
    try:
        made.withdraw(made.resource.id or "")
    except MlmgmtError:  # something already uses it, or the server cannot withdraw
        return False
    return True


def _were(several: list[str]) -> str:
    return "was" if len(several) == 1 else "were"
