"""The ASGI application: admission of requests, dispatch to handlers, and errors as `ErrorResponse`.

Routes come from the contract's table; `extensions` has those that the API page does not define. Handlers are plain
functions that run in threads; only those that stream (artifact uploads) are coroutines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from urllib.parse import quote

import msgspec

from mlmgmt_nb.contract import OPERATIONS, Operation
from mlmgmt_nb.contract.archiving import QUERIES
from mlmgmt_nb.contract.changes import CHANGE_OPERATIONS
from mlmgmt_nb.contract.extensions import BODIES
from mlmgmt_nb.contract.limits import MAX_CHARACTERS, exceeded
from mlmgmt_nb.contract.operations import API_VERSION_PARAMETER
from mlmgmt_nb.scoring.schema.repeated import repeated_key
from mlmgmt_nb.service.access.audit_entry import AuditContext
from mlmgmt_nb.service.access.guard import Guard
from mlmgmt_nb.service.access.permissions import METRICS_ACTION, action_of
from mlmgmt_nb.service.access.principals import EVERY_ACCOUNT, Principal
from mlmgmt_nb.service.api.health import HealthChecks
from mlmgmt_nb.service.backend import Backend
from mlmgmt_nb.service.gateway.gateway import PREFIX, Gateway
from mlmgmt_nb.service.http.framing import check_head, host_of_origin
from mlmgmt_nb.service.http.messages import Receive, Reply, Request, Scope, Send
from mlmgmt_nb.service.http.problems import Problem, bad_field, invalid
from mlmgmt_nb.service.store.errors import store_problem

__all__ = ["METRICS", "App", "Call", "Handler"]

log = logging.getLogger(__name__)


class Call(msgspec.Struct):
    """A request as passed to its handler.

    Attributes:
        backend: the components of the service.
        principal: the caller.
        account: key of the account; rows of different accounts are never mixed.
        base_url: absolute URL of the account, ending in `/accounts/NAME`.
        id: the `{id}` of the path, or "".
        query: the validated parameters of the query.
        body: the decoded body, or None.
        request: the request itself.
        rest: the path segments after those of the route.
    """

    backend: Backend
    principal: Principal
    account: str
    base_url: str
    id: str
    query: dict[str, str]
    body: Any
    request: Request
    rest: tuple[str, ...] = ()


Handler = Callable[[Call], Any]
Routes = dict[tuple[str, ...], dict[str, tuple[Operation | None, Handler]]]
"""Path pattern after the account -> method -> operation of the contract (None for an extension) and handler."""


def _routes(handlers: Mapping[str, Handler]) -> Routes:
    routes: Routes = {}
    for operation in (*OPERATIONS.values(), *CHANGE_OPERATIONS.values()):
        pattern = tuple(operation.path.strip("/").split("/"))
        routes.setdefault(pattern, {})[operation.method] = (operation, handlers[operation.id])
    return routes


class App:
    """The application.

    Args:
        backend: the components of the service.
        handlers: handlers by id of an operation of the contract, or of its extension for changes.
        extensions: additional handlers, by path pattern after the account and method; `{id}` matches a resource, a
            final `*` any number of segments.
        guard: admits requests.
    """

    def __init__(
        self,
        backend: Backend,
        handlers: Mapping[str, Handler],
        extensions: Mapping[tuple[str, ...], Mapping[str, Handler]],
        guard: Guard,
    ) -> None:
        self._backend = backend
        self._guard = guard
        self._routes = _routes(handlers)
        for pattern, methods in extensions.items():
            self._routes.setdefault(pattern, {}).update({method: (None, h) for method, h in methods.items()})
        self.gateway = Gateway(backend.store, backend.settings.service_host, backend.handover_channel)
        self._health = HealthChecks(backend.store.responds)
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="request")
        # Separate threads: reads continue while writes wait for a busy store.
        self._writers = ThreadPoolExecutor(max_workers=32, thread_name_prefix="change")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        audit_context = AuditContext(request)
        try:
            host = check_head(scope)
            if self._health.knows(scope["path"]):
                await self._send_health(request, scope, send)
                return
            self._check_host(request, host)
            if request.segments[:-1][:3] == PREFIX:
                # Scoring requests: replicas check their keys.
                await self.gateway(request.segments[3:], scope, receive, send)
                return
            reply = await self._answer(request, audit_context)
        except Problem as problem:
            reply = Reply.of(problem)
        except ConnectionResetError:
            return
        except Exception as error:  # noqa: BLE001 - last resort: logged in full, answered without internals
            reply = Reply.of(store_problem(error) or _unexpected(error))
        reply.headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
        if given := request.headers.get("x-ms-client-request-id"):
            reply.headers["x-ms-client-request-id"] = given
        if request.ends_connection:
            reply.headers["connection"] = "close"
        audit_context.record(self._backend.audit, reply)
        await reply.send(send, head=request.method == "HEAD")

    async def _send_health(self, request: Request, scope: Scope, send: Send) -> None:
        """Answer a health check. It is not recorded in the audit log."""
        try:
            reply = await self._health.answer(request.method, scope["path"])
        except Problem as problem:
            reply = Reply.of(problem)
        await reply.send(send, head=request.method == "HEAD")

    async def _answer(self, request: Request, audit_context: AuditContext) -> Reply:
        with contextlib.suppress(Problem):  # record refused callers in the account that they requested
            audit_context.account, _ = _account(request)
        audit_context.principal = principal = await self._guard.principal(request, self._threads)
        if request.segments == ("",):
            return _of_get(request, 200, self._backend.identity())
        if request.segments == ("metrics",):
            self._guard.authorize(principal, METRICS_ACTION, EVERY_ACCOUNT)
            text = await asyncio.get_running_loop().run_in_executor(self._threads, self._backend.metrics, request)
            return _of_get(request, 200, text, media_type=METRICS)
        account, segments = _account(request)
        pattern, resource_id, rest = _match(segments, self._routes)
        methods = self._routes[pattern]
        if request.method not in methods:
            raise Problem(
                405,
                "MethodNotAllowed",
                f"This resource does not support {request.method}; use {', '.join(sorted(methods))}.",
                headers={"allow": ", ".join(sorted(methods))},
            )
        operation, handler = methods[request.method]
        audit_context.action = operation.id if operation else action_of(request.method, pattern)
        audit_context.resource_id = resource_id
        self._guard.authorize(principal, audit_context.action, account)
        call = Call(
            backend=self._backend,
            principal=principal,
            account=account,
            base_url=self._base_url(request),
            id=resource_id,
            query=_query(request, operation) if operation else request.query(),
            body=await _body(request, operation) if operation and operation.body else None,
            request=request,
            rest=rest,
        )
        if asyncio.iscoroutinefunction(handler):
            return cast("Reply", await handler(call))
        threads = self._threads if request.method in {"GET", "HEAD"} else self._writers
        return await asyncio.get_running_loop().run_in_executor(threads, handler, call)

    def _check_host(self, request: Request, host: str) -> None:
        """Refuse foreign hosts and origins."""
        origin = request.headers.get("origin")
        for header, value in (("host", host), ("origin", None if origin is None else host_of_origin(origin))):
            if value is not None and not self._backend.settings.answers_to(value):
                given = request.headers[header]
                raise Problem(
                    403,
                    "ForeignHost",
                    f"Requests with the {header} {given!r} are not allowed; add it with mlmgmt serve --allowed-host.",
                )

    def _base_url(self, request: Request) -> str:
        origin = self._backend.settings.public_url or f"{self._backend.settings.scheme}://{request.headers['host']}"
        return origin + "/" + "/".join(quote(segment, safe="") for segment in request.segments[:7])


METRICS = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of metrics."""


def _of_get(request: Request, *reply: Any, **options: Any) -> Reply:
    """Return the response at a path outside of the accounts, which only supports GET."""
    if request.method != "GET":
        raise Problem(405, "MethodNotAllowed", "This path supports only GET.", headers={"allow": "GET"})
    return Reply(*reply, **options)


def _account(request: Request) -> tuple[str, tuple[str, ...]]:
    """Return the account of a request, and the path segments after it."""
    match request.segments:
        case ("api", "subscriptions", subscription, "resourceGroups", group, "accounts", name, *rest) if rest:
            if max(map(len, (subscription, group, name))) > MAX_CHARACTERS["name"]:
                raise bad_field("path", f"has a name of more than {MAX_CHARACTERS['name']} characters.", "TooLong")
            return "/".join(quote(part, safe="") for part in (subscription, group, name)), tuple(rest)
    raise Problem(404, "NoSuchPath", "This path does not exist; the API is under /api/subscriptions/....")


def _match(
    segments: tuple[str, ...], routes: Mapping[tuple[str, ...], Any]
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return the matching pattern, its `{id}`, and the segments that its `*` matches."""
    if segments in routes:
        return segments, "", ()
    with_id = (segments[0], "{id}", *segments[2:])
    if len(segments) > 1 and segments[1] and with_id in routes:
        return with_id, segments[1], ()
    if (segments[0], "*") in routes:
        return (segments[0], "*"), "", segments[1:]
    raise Problem(404, "NoSuchPath", f"The path /{'/'.join(segments)} does not exist in an account.")


def _query(request: Request, operation: Operation) -> dict[str, str]:
    given = request.query()
    values: dict[str, str] = {}
    for parameter in (API_VERSION_PARAMETER, *operation.query, *QUERIES.get(operation.id, ())):
        if parameter.name in given:
            try:
                values[parameter.name] = msgspec.convert(given[parameter.name], parameter.type)
            except msgspec.ValidationError as error:
                raise invalid(error, parameter.name) from None
        elif parameter.required:
            raise bad_field(parameter.name, f"missing; add ?{parameter.name}={parameter.example}.", "Missing")
    return values


async def _body(request: Request, operation: Operation) -> Any:
    raw = await request.json()
    if not raw.strip():
        raise bad_field("$", f"the body is empty; send the {operation.body_name} as JSON.", "Missing")
    try:
        body = msgspec.json.decode(raw, type=BODIES.get(operation.id, operation.body))
        repeated = repeated_key(raw)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise bad_field("$", f"not JSON: {error}.", "InvalidJson") from None
    except RecursionError:
        raise bad_field("$", "nested too deeply; bodies of the API have only a few levels.", "InvalidJson") from None
    if repeated is not None:
        raise bad_field(repeated, "is given more than once in the same object; send it once.")
    if too_long := exceeded(body):
        raise bad_field(*too_long, "TooLong")
    return body


def _unexpected(error: Exception) -> Problem:
    request_id = str(uuid.uuid4())
    log.error("request %s failed", request_id, exc_info=error)
    return Problem(
        500,
        "InternalError",
        f"The service failed ({type(error).__name__}); see its log for the request {request_id}.",
        headers={"x-ms-request-id": request_id},
    )
