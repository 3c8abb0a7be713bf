"""Sends requests: connection pool, timeouts, request ids, and the location of the account.

`retries`, `authentication`, `encoding` and `failures` decide the rest.
"""

from __future__ import annotations

import copy
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Container, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from mlmgmt_nb.client.http.authentication import POOL_SIZE, Bearer, PinnedAdapter, renewed
from mlmgmt_nb.client.http.credentials import Credential
from mlmgmt_nb.client.http.encoding import encoded
from mlmgmt_nb.client.http.failures import transport_error
from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.client.http.responses import REQUEST_ID
from mlmgmt_nb.client.http.retries import Failure, Retries, jittered_pause
from mlmgmt_nb.client.http.urls import is_loopback, origin
from mlmgmt_nb.contract import API_VERSION, OPERATIONS
from mlmgmt_nb.contract.changes import CHANGE_OPERATIONS
from mlmgmt_nb.errors import ConnectError, TransportError, UsageError
from mlmgmt_nb.redaction import redact_chain, redacted

__all__ = ["Location", "Streamed", "Timeout", "Transport", "is_loopback", "origin"]

Timeout = tuple[float, float]
"""Seconds to wait for a connection, and for each part of the answer."""

log = logging.getLogger(__name__)

_NO_PROXIES: Any = {"http": None, "https": None, "all": None}


class Location(NamedTuple):
    """The URL of the account, and its credential. `certificate` is trusted for this URL only, regardless of its
    issuer."""

    base_url: str
    credential: Credential
    certificate: Path | None = None


class Streamed(Protocol):
    """A body that is read in blocks as it is sent, and knows its length."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __len__(self) -> int: ...


class _Request(NamedTuple):
    """A request; its URL follows the base URL of the account, or is absolute."""

    method: str
    url: str
    query: Mapping[str, str] | None
    headers: Mapping[str, str]
    body: bytes | Streamed | None
    key: str | None
    timeout: Timeout
    stream: bool

    @property
    def is_ours(self) -> bool:
        """Whether the request goes to the account, with its credential."""
        return self.url.startswith("/")

    @property
    def parameters(self) -> Mapping[str, str] | None:
        """Query of the request, with the version of the API."""
        if self.is_ours and "api-version=" not in self.url:
            return {"api-version": API_VERSION, **(self.query or {})}
        return self.query

    def is_renewable(self, failure: Failure) -> bool:
        """Return whether the request can be sent again with a new token; a stream cannot, because it was read
        already."""
        is_refused = failure.response is not None and failure.response.status_code == 401
        return is_refused and self.is_ours and (self.body is None or isinstance(self.body, bytes))


class Transport:
    """Sends the requests of one account. Thread-safe.

    Args:
        location: the account's base URL and credential.
        timeout: seconds to connect, and to wait for each part of an answer.
        attempts: maximum number of times that a request is sent.
        relocate: called for the current location of the account when no connection can be made.
        adapter: sends the requests instead of the transport's own connection pool.
        clock, sleep, uniform: time in seconds, a pause, and a random number between 0 and 1.
    """

    def __init__(
        self,
        location: Location,
        *,
        timeout: Timeout = (3.05, 30.0),
        attempts: int = 5,
        relocate: Callable[[], Location] | None = None,
        adapter: BaseAdapter | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._location = location
        self._timeout = timeout
        self._attempts = attempts
        self._relocate = relocate
        self._relocating = threading.Lock()
        self.clock = clock
        self.sleep = sleep
        self._uniform = uniform
        self._adapter = adapter
        self._session = self._new_session()
        renew_after_fork(self)

    def _new_session(self) -> requests.Session:
        """Return a session without a connection yet."""
        session, location = requests.Session(), self._location
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = self._adapter or HTTPAdapter(pool_connections=POOL_SIZE, pool_maxsize=POOL_SIZE)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        if location.certificate is not None:
            session.mount("/".join(location.base_url.split("/")[:3]) + "/", PinnedAdapter(location.certificate))
        return session

    def after_fork(self) -> None:
        """Leave the connections to the parent process."""
        _OF_PARENTS.append(self._session)
        self._relocating = threading.Lock()
        if isinstance(self._adapter, HTTPAdapter):
            self._adapter = copy.copy(self._adapter)  # like pickle: the same settings, and a new pool
        self._session = self._new_session()

    def clone(self) -> Transport:
        """Return another transport to the same account, with its own connections."""
        adapter = copy.copy(self._adapter) if isinstance(self._adapter, HTTPAdapter) else self._adapter
        return Transport(
            self._location, timeout=self._timeout, attempts=self._attempts, relocate=self._relocate, adapter=adapter
        )

    def __deepcopy__(self, memo: object) -> Transport:
        return self.clone()

    __copy__ = clone

    def __reduce__(self) -> tuple[Callable[..., Transport], tuple[object, ...]]:
        """Pickle the location of the account. Credentials leave their secrets out."""
        if self._adapter is not None:
            raise UsageError(
                "a workspace with an `adapter` of yours cannot be pickled",
                field="adapter",
                fix="Connect again where you need it.",
            )
        return _unpickled, (self._location, self._timeout, self._attempts, self._relocate)

    @property
    def base_url(self) -> str:
        """The current URL of the account; an embedded service may have another port after a restart."""
        return self._location.base_url

    @property
    def credential(self) -> Credential:
        """The credential of the account."""
        return self._location.credential

    def close(self) -> None:
        """Close the connections that are not in use; another request opens a new one."""
        self._session.close()

    def call(
        self,
        operation_id: str,
        *,
        id: str = "",  # noqa: A002 - the API's word
        query: Mapping[str, str | None] | None = None,
        body: Any = None,
        attempts: int | None = None,
        accept: Container[int] = (),
    ) -> requests.Response:
        """Send an operation of the contract.

        Args:
            operation_id: its id in `OPERATIONS` or `CHANGE_OPERATIONS`.
            id: the id of the resource that its path names.
            query: its parameters; None values are left out.
            body: its body, a type of the contract; properties that are not set are left out.
            attempts: maximum number of times to send it (default: that of the transport).
            accept: statuses besides 2xx that are not errors.

        Raises:
            TransportError: the server did not respond.
            ApiError: the server answered with an error.
        """
        operation = OPERATIONS.get(operation_id) or CHANGE_OPERATIONS[operation_id]
        if "{id}" in operation.path and not id:
            raise UsageError(f"the id of the {operation.subject} is empty", field="id", fix="Give its id or name.")
        return self.send(
            operation.method,
            operation.url("", id=id),
            query={name: value for name, value in (query or {}).items() if value is not None},
            headers={"Content-Type": "application/json"} if body is not None else {},
            body=None if body is None else encoded(body),
            attempts=attempts,
            accept=accept,
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | Streamed | None = None,
        key: str | None = None,
        timeout: Timeout | None = None,
        attempts: int | None = None,
        accept: Container[int] = (),
        stream: bool = False,
    ) -> requests.Response:
        """Send a request, repeat it if that is safe, and return the response.

        Args:
            method, query, headers, body: the request.
            url: the part after the base URL, starting with `/`; or an absolute URL, which does not get the account's
                token.
            key: the bearer token for an absolute URL.
            timeout, attempts: instead of the transport's own.
            accept: statuses besides 2xx that are not errors.
            stream: whether the caller reads the body of the answer, and closes it.

        Raises:
            TransportError: the server did not respond.
            ApiError: the server answered with an error.
        """
        headers = {REQUEST_ID: str(uuid.uuid4()), **(headers or {})}
        request = _Request(method, url, query, headers, body, key, timeout or self._timeout, stream)
        retries = Retries(attempts or self._attempts, self.pause, self.clock)
        is_moved = is_renewed = False
        while True:
            retries.begin()
            location = self._location
            result = self._attempt(location, request, accept)
            if isinstance(result, requests.Response):
                return result
            if not is_moved and (is_moved := self._moved(location, request, result)):
                continue
            if not is_renewed and request.is_renewable(result):
                is_renewed = True
                if result.response is not None and renewed(location.credential, result.response):
                    continue
            self.sleep(retries.pause_after(result))

    def _attempt(self, location: Location, request: _Request, accept: Container[int]) -> requests.Response | Failure:
        try:
            response = self._send_once(location, request)
        except TransportError as error:
            return Failure.without_response(error, request.method)
        if 200 <= response.status_code < 300 or response.status_code in accept:
            return response
        return Failure.of(response, request.method, location.credential.source if request.is_ours else "")

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after the given attempt (the first is 1)."""
        return jittered_pause(attempt, self._uniform)

    def _moved(self, failed: Location, request: _Request, failure: Failure) -> bool:
        """Locate the account again after a failed connection. Return False if that does not apply."""
        if self._relocate is None or not request.is_ours or not isinstance(failure.error, ConnectError):
            return False
        with self._relocating:
            if self._location is failed:  # otherwise another thread has already asked
                self._location = self._relocate()
        return True

    def _send_once(self, location: Location, request: _Request) -> requests.Response:
        url = location.base_url + request.url if request.is_ours else request.url
        try:
            response = self._session.request(
                request.method,
                url,
                params=request.parameters,
                headers=request.headers,
                data=request.body,
                auth=Bearer(location.credential.token() if request.is_ours else request.key),
                timeout=request.timeout,
                stream=request.stream,
                allow_redirects=False,
                proxies=_NO_PROXIES if is_loopback(url) else None,
            )
            log.debug("%s %s -> %s", request.method, redacted(url.partition("?")[0]), response.status_code)
            return response
        except requests.RequestException as error:
            redact_chain(error)
            raise transport_error(error, request.method, url, request.headers[REQUEST_ID]) from error


_OF_PARENTS: list[requests.Session] = []
"""Sessions that this process inherited by a fork. They are kept, because ending one may take locks that are held
forever."""


def _unpickled(
    location: Location, timeout: Timeout, attempts: int, relocate: Callable[[], Location] | None
) -> Transport:
    return Transport(location, timeout=timeout, attempts=attempts, relocate=relocate)
