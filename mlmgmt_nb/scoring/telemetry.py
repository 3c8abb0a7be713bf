"""Application Insights: a trace of each request, and the output, logs and exceptions of the driver, by OpenTelemetry.

It is enabled by `AML_APP_INSIGHTS_ENABLED=true`. `APPLICATIONINSIGHTS_CONNECTION_STRING` or the key in
`AML_APP_INSIGHTS_KEY` sets the destination. Data is sent in batches in the background; if it cannot be sent, it is
lost, and scoring continues.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from time import perf_counter, time
from typing import Any

from mlmgmt_nb.scoring.calls.admission import log
from mlmgmt_nb.scoring.context import request_id
from mlmgmt_nb.scoring.driver.output import Output
from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.http.request_log import LogEntry

__all__ = ["Telemetry", "start_telemetry"]

_DELAY_MILLISECONDS = 2000
_STOP_SECONDS = 3.0
_MOST_PARENTS = 10_000
_OWN_LOGGERS = ("azure", "opentelemetry", "urllib3")
"""Loggers whose messages are about sending logs."""


def start_telemetry(environment: Mapping[str, str]) -> Telemetry | None:
    """Start telemetry if it is enabled. If something is missing, log that and let the service run without it."""
    if environment.get("AML_APP_INSIGHTS_ENABLED", "").lower() != "true":
        return None
    key = environment.get("AML_APP_INSIGHTS_KEY")
    connection = environment.get("APPLICATIONINSIGHTS_CONNECTION_STRING") or (key and f"InstrumentationKey={key}")
    if not connection:
        log(
            "Application Insights is on, but nothing is sent: set APPLICATIONINSIGHTS_CONNECTION_STRING where the "
            "service is started"
        )
        return None
    try:
        return Telemetry(connection, environment.get("SERVICE_NAME", "local"))
    except ImportError:
        log(
            "Application Insights is on, but nothing is sent: azure-monitor-opentelemetry-exporter is not installed; "
            "add it to the requirements, or install mlmgmt-nb[azure]"
        )
    except ValueError as error:
        log(f"Application Insights is on, but nothing is sent: the connection string is wrong: {error}")
    return None


class Telemetry:
    """A sender of traces and logs.

    Args:
        connection: the connection string of an Application Insights resource.
        service: the name of the service, its cloud role.
    """

    def __init__(self, connection: str, service: str) -> None:
        # otherwise it sends statistics about itself to, and fetches settings from, another server
        os.environ.setdefault("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
        os.environ.setdefault("APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED", "true")
        from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter, AzureMonitorTraceExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        options: dict[str, Any] = {"connection_string": connection, "disable_offline_storage": True}
        resource = Resource.create({"service.name": service, "service.instance.id": str(os.getpid())})
        self._ids = _ids()
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        self._spans.add_span_processor(
            BatchSpanProcessor(AzureMonitorTraceExporter(**options), schedule_delay_millis=_DELAY_MILLISECONDS)
        )
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(
            BatchLogRecordProcessor(AzureMonitorLogExporter(**options), schedule_delay_millis=_DELAY_MILLISECONDS)
        )
        self._tracer = self._spans.get_tracer("mlmgmt_nb.scoring")
        self._printed = self._logs.get_logger("print")
        self._raised = self._logs.get_logger("run")
        self._parents: dict[str, tuple[int, int]] = {}
        self._listen()

    def _listen(self) -> None:
        if isinstance(sys.stdout, Output):
            sys.stdout.listener = self.printed
        make = logging.getLogRecordFactory()

        def make_and_send(*args: Any, **options: Any) -> logging.LogRecord:
            record = make(*args, **options)
            if not record.name.startswith(_OWN_LOGGERS):
                self.logged(record)
            return record

        # not a handler: with one, the driver's own logging.basicConfig() would do nothing
        logging.setLogRecordFactory(make_and_send)

    def expect(self, identity: str, traceparent: bytes) -> None:
        """Register a request that is part of a caller's trace."""
        parts = traceparent.split(b"-")
        with suppress(ValueError):
            if len(parts) == 4 and len(parts[1]) == 32 and len(parts[2]) == 16 and len(self._parents) < _MOST_PARENTS:
                self._parents[identity] = int(parts[1], 16), int(parts[2], 16)

    def request(self, entry: LogEntry) -> None:
        """Send the span of an answered request."""
        from opentelemetry.trace import SpanKind, StatusCode

        identity, method, path, status, began, ended, bytes_in, bytes_out, code, message = entry
        clock = time() - perf_counter()
        self._ids.trace_id, self._ids.span_id = self._trace_of(identity)
        parent = self._parents.pop(identity, None)
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.path": path,
            "http.response.status_code": status,
            "bytesIn": bytes_in,
            "bytesOut": bytes_out,
            "requestId": identity,
        }
        if code:
            attributes |= {"error.type": code, "error.message": message[:500]}
        span = self._tracer.start_span(
            f"{method} {path}",
            context=_context(*parent) if parent else _context(),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=int((clock + began) * 1e9),
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR, message[:500])
        span.end(int((clock + ended) * 1e9))

    def printed(self, line: str, identity: str) -> None:
        """Send a line that the driver printed."""
        self._emit(self._printed, logging.INFO, line, identity, {})

    def logged(self, record: logging.LogRecord) -> None:
        """Send a log record of the driver or of a library that it uses."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit: logging itself tells the user
            text = str(record.msg)
        where = {"code.function.name": record.funcName, "code.file.path": record.pathname}
        self._emit(self._logs.get_logger(record.name), record.levelno, text, request_id.get(), where)

    def raised(self, error: RequestError, identity: str) -> None:
        """Send an exception that `run` raised."""
        attributes = {
            "exception.type": error.message.partition(":")[0],
            "exception.message": error.message,
            "exception.stacktrace": error.trace,
        }
        self._emit(self._raised, logging.ERROR, error.message, identity, attributes)

    def stop(self) -> None:
        """Send the remaining data, within a few seconds."""
        sender = threading.Thread(target=self._shut_down, daemon=True)
        sender.start()
        sender.join(_STOP_SECONDS)

    def _shut_down(self) -> None:
        self._logs.shutdown()
        self._spans.shutdown()

    def _emit(self, logger: Any, level: int, text: str, identity: str, attributes: Mapping[str, Any]) -> None:
        from opentelemetry._logs import SeverityNumber

        number = SeverityNumber(min(max(level // 10 * 4 + 1, 1), 21))  # DEBUG 5, INFO 9, WARNING 13, ERROR 17
        logger.emit(
            timestamp=int(time() * 1e9),
            context=_context(*self._trace_of(identity)) if identity else _context(),
            severity_number=number,
            severity_text=logging.getLevelName(level),
            body=text,
            attributes={**attributes, **({"requestId": identity} if identity else {})},
        )

    def _trace_of(self, identity: str) -> tuple[int, int]:
        """Ids of a request's trace and span: its logs need them before its span is created."""
        digest = sha256(identity.encode()).digest()
        trace_id = self._parents[identity][0] if identity in self._parents else int.from_bytes(digest[:16], "big")
        return trace_id, int.from_bytes(digest[16:24], "big")


def _context(trace_id: int = 0, span_id: int = 0) -> Any:
    """Return the context of a span; an empty one without ids."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if not trace_id:
        return Context()
    span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(1)))
    return set_span_in_context(span, Context())


def _ids() -> Any:
    """Return an OpenTelemetry id generator that returns preset ids."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class RequestIdGenerator(IdGenerator):
        trace_id = span_id = 0

        def generate_trace_id(self) -> int:
            return self.trace_id

        def generate_span_id(self) -> int:
            return self.span_id

    return RequestIdGenerator()
