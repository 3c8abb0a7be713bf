"""Operations: the asynchronous requests that create images and services."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import requests

from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.responses import decode, retry_after
from mlmgmt_nb.client.http.transport import Transport, is_loopback
from mlmgmt_nb.client.monitoring.logs import LogPart, build_log_url, read_log
from mlmgmt_nb.client.polling import Poller, WatchedOperation, Watcher
from mlmgmt_nb.contract import OPERATIONS, AsyncOperationStatus, Image, ServiceResponse
from mlmgmt_nb.contract.extensions import OPERATIONS_LIST, OperationStatus, Service
from mlmgmt_nb.errors import ApiError, ServerError

__all__ = ["Operations"]

_KNOWN = 1000
_SLOWEST, _SLOWEST_ON_LOOPBACK = 2.0, 0.2


class Operations:
    """The operations of the account: `get` one, `wait` for it, `cancel` it, `list` them, or use a `poller`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        slowest = _SLOWEST_ON_LOOPBACK if is_loopback(transport.base_url) else _SLOWEST
        self._log_urls: dict[str, str] = {}
        self._known: deque[str] = deque(maxlen=_KNOWN)
        self.watcher = Watcher(self._fetch, slowest=slowest, clock=transport.clock, fetch_newest=self._fetch_newest)

    def __reduce__(self) -> tuple[type[Operations], tuple[Transport]]:
        """Pickle and copy without the operations that this process waits for."""
        return Operations, (self._transport,)

    def get(self, id: str) -> OperationStatus:  # noqa: A002 - the API's word
        """Return the state of an operation.

        Args:
            id: id of the operation.

        Raises:
            NotFoundError: the operation does not exist.
        """
        return decode(self._transport.call("operations_get", id=id), OperationStatus)

    def cancel(self, id: str) -> AsyncOperationStatus:  # noqa: A002
        """Cancel a running operation: the image is not built, or the service keeps its previous deployment.

        The API of 2017 does not have this; the embedded service does. Cancelling again changes nothing.

        Args:
            id: id of the operation.

        Raises:
            ConflictError: it has ended already.
            NotFoundError: the operation does not exist, or the server cannot cancel.
        """
        self.get(id)  # checks the id, and distinguishes an unknown one from a server that cannot cancel
        url = f"{OPERATIONS['operations_get'].url('', id=id)}/cancel"
        return decode(self._transport.send("POST", url), AsyncOperationStatus)

    def withdraw_on_failure(self, id: str, versions: Sequence[str]) -> None:  # noqa: A002
        """Let the server withdraw versions if an operation fails, so that nobody has to wait for it.

        The image of a failed build is withdrawn too. The API of 2017 does not have this; the embedded service does.

        Args:
            id: id of the operation.
            versions: ids of the models, the manifest and the image that were made for it, oldest first.

        Raises:
            NotFoundError: the operation or a version does not exist, or the server cannot withdraw.
        """
        url = f"{OPERATIONS['operations_get'].url('', id=id)}/withdraw"
        self._transport.send("POST", url, query={"versions": ",".join(versions)})

    def list(self, *, count: int = PAGE_SIZE) -> Pager[OperationStatus]:
        """Return the operations of the account, newest first.

        The API of 2017 does not have this; the embedded service does. For other servers, `known` has the ids of
        the operations that this workspace has used.

        Args:
            count: maximum number of operations per page.
        """
        return Pager(self._transport, OPERATIONS_LIST, OperationStatus, {}, count)

    @property
    def known(self) -> Sequence[str]:
        """The ids of the operations that this workspace has started or waited for, newest first."""
        return list(reversed(self._known))

    def wait(self, id: str, timeout: float | None = None) -> AsyncOperationStatus:  # noqa: A002
        """Wait until the operation has ended, successfully or not, as `Poller.wait` does.

        Args:
            id: id of the operation.
            timeout: maximum seconds to wait (default: unlimited).
        """
        return self.poller(id).wait(timeout)

    def poller(self, id: str) -> Poller[Image | ServiceResponse]:  # noqa: A002
        """Return a poller for an operation, from its `id` or a continuation token. Sends nothing yet."""
        return self._poller(WatchedOperation(id), self._load)

    def started(self, response: requests.Response, load: Callable[[str], Any]) -> Poller[Any]:
        """Return the poller for a 202 response.

        Args:
            response: the answer.
            load: returns the resource for its id.

        Raises:
            ServerError: the response does not name its operation.
        """
        location = response.headers.get("Operation-Location", "")
        if not location:
            raise ServerError(
                "the server accepted the request without an Operation-Location",
                status_code=response.status_code,
                fix="List the resources to see whether it was created.",
            )
        watch = WatchedOperation(_last_segment(location), first_delay=retry_after(response.headers))
        return self._poller(watch, lambda status: load(_resource_id(status)))

    def _poller(self, watch: WatchedOperation, load: Callable[[AsyncOperationStatus], Any]) -> Poller[Any]:
        if watch.operation_id not in self._known:
            self._known.append(watch.operation_id)
        return Poller(watch, self.watcher, load=load, log_uri=self._log_uri, read_log=self._read_log)

    def _fetch(self, operation_id: str) -> tuple[AsyncOperationStatus, float | None]:
        response = self._transport.call("operations_get", id=operation_id, attempts=1)
        return decode(response, OperationStatus), retry_after(response.headers)

    def _fetch_newest(self, count: int) -> Sequence[AsyncOperationStatus]:
        return next(self.list(count=min(count, PAGE_SIZE)).by_page()).value

    def _load(self, status: AsyncOperationStatus) -> Image | ServiceResponse:
        resource_id = _resource_id(status)
        if status.operation_type == "Image":
            return decode(self._transport.call("images_get", id=resource_id), Image)
        return decode(self._transport.call("services_get", id=resource_id), Service)

    def _read_log(self, status: AsyncOperationStatus, offset: int, tail: int | None) -> LogPart:
        url = self._log_urls.get(status.id or "") or self._log_url(status)
        return read_log(self._transport, url, offset=offset, tail=tail)

    def _log_url(self, status: AsyncOperationStatus) -> str:
        """Return the URL of the log, for `read_log`."""
        resource_id = _resource_id(status)
        if status.operation_type == "Service":
            return f"{OPERATIONS['services_get'].url('', id=resource_id)}/logs"
        image = decode(self._transport.call("images_get", id=resource_id), Image)
        url = build_log_url(self._transport.base_url, image)
        if image.image_build_log_uri:  # it does not move, so following the log needs no further request
            self._log_urls[status.id or ""] = url
        return url

    def _log_uri(self, status: AsyncOperationStatus) -> str | None:
        """Return the URL of the log of a failed operation, if the server reports it."""
        if not status.resource_location:
            return None
        resource_id = _resource_id(status)
        if status.operation_type == "Service":
            return f"{self._transport.base_url}/services/{resource_id}/logs"
        try:
            return decode(self._transport.call("images_get", id=resource_id), Image).image_build_log_uri
        except ApiError:  # the user needs the error of the operation itself
            return None


def _resource_id(status: AsyncOperationStatus) -> str:
    return _last_segment(status.resource_location or "")


def _last_segment(url: str) -> str:
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]
