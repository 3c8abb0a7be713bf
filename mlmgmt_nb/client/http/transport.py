"""Sends requests: pool, timeouts, retries, request ids, credentials, and the way from failures to errors.

A request is repeated when that is safe: GET, HEAD, PUT and DELETE after a broken connection, a timeout or a passing
error of the server; any method when no connection was made, or when the server says that it did not act (429 or 503
with `Retry-After`).
"""

from __future__ import annotations

import base64
import copy
import ipaddress
import logging
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Container, Mapping
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3.exceptions as urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from mlmgmt_nb import local
from mlmgmt_nb.client.http.credentials import Credential
from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.client.http.responses import REQUEST_ID, api_error, retry_after
from mlmgmt_nb.contract import API_VERSION, OPERATIONS
from mlmgmt_nb.errors import AnswerTimeoutError, ConnectError, MlmgmtError, TransportError, UsageError
from mlmgmt_nb.redaction import redact_chain, redacted

__all__ = ["Location", "Readable", "Timeout", "Transport", "is_loopback", "origin"]

Timeout = tuple[float, float]
"""Seconds to wait for a connection, and for each part of the answer."""

log = logging.getLogger(__name__)

_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_PASSING = frozenset({408, 429, 502, 503, 504})
_POOL_SIZE = 32
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 8.0
_LONGEST_WAIT = 60.0
_NO_PROXIES: Any = {"http": None, "https": None, "all": None}


class Location(NamedTuple):
    """Where the account is, and what opens it. `certificate` is believed there and nowhere else, whoever signed it."""

    base_url: str
    credential: Credential
    certificate: Path | None = None


class Readable(Protocol):
    """A body that is read as it is sent, and knows its length."""

    def read(self, size: int = -1, /) -> bytes: ...

    def __len__(self) -> int: ...


class _Bearer(requests.auth.AuthBase):
    """Sets the header as an `auth`, because requests would replace a plain header by what `.netrc` has."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Pinned(HTTPAdapter):
    """Connections to a server that answers with one certificate, which is believed whatever name it is for."""

    __attrs__ = [*HTTPAdapter.__attrs__, "_certificate"]

    def __init__(self, certificate: Path) -> None:
        self._certificate = certificate
        super().__init__(pool_maxsize=_POOL_SIZE)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        options |= {"ssl_context": local.pinned(self._certificate), "assert_hostname": False}
        super().init_poolmanager(*arguments, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None: ...


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL.

    Raises:
        UsageError: it is not an http or https URL, or it carries a user name.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise UsageError(f"{url!r} is not a URL: {error}", field="url") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise UsageError(f"{url!r} is not an http or https URL", field="url")
    return parts.scheme, parts.hostname, port


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Transport:
    """Sends the requests of one account. Thread-safe.

    Args:
        location: the account's base URL and credential.
        timeout: seconds to connect, and to wait for each part of an answer.
        attempts: how often a request is sent at most.
        relocate: asked for the account's place once more when no connection can be made.
        adapter: carries the requests instead of the pool that is made here.
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
        adapter = self._adapter or HTTPAdapter(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        if location.certificate is not None:
            session.mount("/".join(location.base_url.split("/")[:3]) + "/", _Pinned(location.certificate))
        return session

    def after_fork(self) -> None:
        """Leaves the connections to the parent process."""
        _OF_PARENTS.append(self._session)
        self._relocating = threading.Lock()
        if isinstance(self._adapter, HTTPAdapter):
            self._adapter = copy.copy(self._adapter)  # as pickle would: the settings, and a pool of its own
        self._session = self._new_session()

    def anew(self) -> Transport:
        """Another transport to the same account, with connections of its own."""
        adapter = copy.copy(self._adapter) if isinstance(self._adapter, HTTPAdapter) else self._adapter
        return Transport(
            self._location, timeout=self._timeout, attempts=self._attempts, relocate=self._relocate, adapter=adapter
        )

    def __deepcopy__(self, memo: object) -> Transport:
        return self.anew()

    __copy__ = anew

    def __reduce__(self) -> tuple[Callable[..., Transport], tuple[object, ...]]:
        """For pickle: the way to the account. Credentials leave their secrets out."""
        if self._adapter is not None:
            raise UsageError(
                "a workspace with an `adapter` of yours cannot be pickled",
                field="adapter",
                fix="Connect anew where it is needed.",
            )
        return _unpickled, (self._location, self._timeout, self._attempts, self._relocate)

    @property
    def base_url(self) -> str:
        """The account's URL as it is now; an embedded service that came back may have another port."""
        return self._location.base_url

    @property
    def credential(self) -> Credential:
        """What opens the account."""
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
            operation_id: its id in `OPERATIONS`.
            id: the id of the resource that its path names.
            query: its parameters; those that are None are left out.
            body: its body, a type of the contract; properties that are not set are left out.
            attempts: how often to send it at most; the transport's own number when None.
            accept: statuses besides 2xx that are not errors.

        Raises:
            TransportError: no answer was had.
            ApiError: the server answered with an error.
        """
        operation = OPERATIONS[operation_id]
        if "{id}" in operation.path and not id:
            raise UsageError(f"the id of the {operation.subject} is empty", field="id", fix="Give its id or name.")
        return self.send(
            operation.method,
            operation.url("", id=id),
            query={name: value for name, value in (query or {}).items() if value is not None},
            headers={"Content-Type": "application/json"} if body is not None else {},
            body=None if body is None else msgspec.json.encode(_without_nulls(msgspec.to_builtins(body))),
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
        body: bytes | Readable | None = None,
        key: str | None = None,
        timeout: Timeout | None = None,
        attempts: int | None = None,
        accept: Container[int] = (),
        stream: bool = False,
    ) -> requests.Response:
        """Send a request, again where that is safe, and return its answer.

        Args:
            method, query, headers, body: the request.
            url: what follows the base URL, starting with `/`; or an absolute URL, which does not get our token.
            key: the bearer token for an absolute URL.
            timeout, attempts: instead of the transport's own.
            accept: statuses besides 2xx that are not errors.
            stream: leave the body of the answer for the caller to read, who closes it.

        Raises:
            TransportError: no answer was had.
            ApiError: the server answered with an error.
        """
        attempts = attempts or self._attempts
        headers = {REQUEST_ID: str(uuid.uuid4()), **(headers or {})}
        started, attempt, relocated, renewed = self.clock(), 0, False, False
        while True:
            attempt += 1
            location = self._location
            failure: MlmgmtError
            try:
                response = self._send_once(location, method, url, query, headers, body, key, timeout, stream=stream)
            except ConnectError as error:
                if url.startswith("/") and self._relocate and not relocated:
                    self._move(location, self._relocate)
                    relocated = True
                    continue
                failure, repeat, wait = error, True, None
            except TransportError as error:
                failure, repeat, wait = error, method in _SAFE_TO_REPEAT, None
            else:
                status = response.status_code
                if 200 <= status < 300 or status in accept:
                    return response
                if status == 401 and url.startswith("/") and not renewed and (body is None or isinstance(body, bytes)):
                    renewed = True
                    if location.credential.renew(_token_of(response), _claims(response)):
                        continue
                source = location.credential.source if url.startswith("/") else ""
                failure, wait = api_error(response, token_source=source), retry_after(response.headers)
                not_acted = status in {429, 503} and wait is not None
                repeat = not_acted or (method in _SAFE_TO_REPEAT and status in _PASSING)
            pause = self.pause(attempt) if wait is None else wait
            if not repeat or attempt >= attempts or self.clock() - started + pause > _LONGEST_WAIT:
                raise failure
            self.sleep(pause)

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the given attempt (the first is 1): full jitter, doubling."""
        return self._uniform() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))

    def _move(self, failed: Location, relocate: Callable[[], Location]) -> None:
        with self._relocating:
            if self._location is failed:  # otherwise another thread has already asked
                self._location = relocate()

    def _send_once(
        self,
        location: Location,
        method: str,
        url: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: bytes | Readable | None,
        key: str | None,
        timeout: Timeout | None,
        *,
        stream: bool,
    ) -> requests.Response:
        ours = url.startswith("/")
        full_url = location.base_url + url if ours else url
        if ours and "api-version=" not in url:
            query = {"api-version": API_VERSION, **(query or {})}
        try:
            response = self._session.request(
                method,
                full_url,
                params=query,
                headers=headers,
                data=body,
                auth=_Bearer(location.credential.token() if ours else key),
                timeout=timeout or self._timeout,
                stream=stream,
                allow_redirects=False,
                proxies=_NO_PROXIES if is_loopback(full_url) else None,
            )
            log.debug("%s %s -> %s", method, redacted(full_url.partition("?")[0]), response.status_code)
            return response
        except requests.RequestException as error:
            redact_chain(error)
            raise _transport_error(error, method, full_url, headers[REQUEST_ID]) from error


_OF_PARENTS: list[requests.Session] = []
"""Sessions that this process inherited by a fork. They are kept: to end one takes locks that may be held for ever."""


def _unpickled(
    location: Location, timeout: Timeout, attempts: int, relocate: Callable[[], Location] | None
) -> Transport:
    return Transport(location, timeout=timeout, attempts=attempts, relocate=relocate)


def _token_of(response: requests.Response) -> str | None:
    return response.request.headers.get("Authorization", "").removeprefix("Bearer ") or None


def _claims(response: requests.Response) -> str | None:
    """Return the claims that the server requires of the next token, from its challenge."""
    found = re.search(r'\bclaims="([^"]*)"', response.headers.get("WWW-Authenticate", ""))
    try:
        return base64.b64decode(found[1] + "==").decode() if found else None
    except ValueError:
        return None


_WITH_NULLS = frozenset({"environment", "secrets"})
"""Properties in which null has a meaning of its own: it removes a variable."""


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: item if name in _WITH_NULLS else _without_nulls(item)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _transport_error(error: requests.RequestException, method: str, url: str, request_id: str) -> MlmgmtError:
    """Return the error for a request that got no answer: did it reach the server, and what can the user do?"""
    where = url.partition("?")[0]
    known = {"method": method, "url": redacted(url), "request_id": request_id}
    if isinstance(error, requests.exceptions.SSLError):
        return TransportError(
            f"the certificate of {where} is not trusted: {error}",
            fix="Name the CA bundle that signed it in the environment variable REQUESTS_CA_BUNDLE.",
            **known,
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return ConnectError(
            f"the proxy did not connect {method} {where}: {error}",
            fix="Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
            **known,
        )
    if isinstance(error, requests.ReadTimeout):
        return AnswerTimeoutError(
            f"no answer to {method} {where} in time",
            fix="The server may have acted all the same; look before repeating, or give a longer `timeout`.",
            **known,
        )
    if isinstance(error, requests.ConnectTimeout) or _never_connected(error):
        return ConnectError(
            f"no connection to {where}",
            fix="Check that the service runs there (`mlmgmt serve` starts one, `mlmgmt status` shows it).",
            **known,
        )
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return TransportError(
            f"the connection broke during {method} {where}",
            fix="The server may have acted all the same; look before repeating.",
            **known,
        )
    return UsageError(f"{method} {where} cannot be sent: {error}", field="url")


def _never_connected(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, urllib3.MaxRetryError) else cause
    return isinstance(reason, urllib3.NewConnectionError)
