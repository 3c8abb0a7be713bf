"""Logs, metrics, recorded requests and collected data of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlmgmt_nb.client.drift.report import Drift, drift_of
from mlmgmt_nb.client.monitoring.collected import read_collected
from mlmgmt_nb.client.monitoring.logs import LogPart, read_log
from mlmgmt_nb.client.monitoring.metrics import ServiceMetrics, parse_metrics
from mlmgmt_nb.client.monitoring.recorded import frame_of, read_recorded
from mlmgmt_nb.client.services.lookup import ServiceLookup
from mlmgmt_nb.client.services.support import check_recording
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.contract.recording import RecordedRequests

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ServiceMonitoring"]


class ServiceMonitoring(ServiceLookup):
    """Read the logs, metrics, recorded requests and collected data of services."""

    def logs(self, service: ServiceResponse | str, *, offset: int = 0, tail: int | None = None) -> LogPart:
        """Return the log of a service and its replicas.

        Args:
            service: the service.
            offset: byte to start at: the `next_offset` of an earlier part.
            tail: number of lines at the end.
        """
        return read_log(self._transport, f"{self._path(service)}/logs", offset=offset, tail=tail)

    def metrics(self, service: ServiceResponse | str) -> ServiceMetrics:
        """Return the metrics of a service: request counters, latencies, and the number of replicas.

        Raises:
            NotFoundError: the service does not exist, or the server has no metrics of services.
        """
        return parse_metrics(self._transport.send("GET", f"{self._path(service)}/metrics").text)

    def requests(self, service: ServiceResponse | str, *, last: int = 100) -> pd.DataFrame:
        """Return the newest requests that were recorded, with their answers, oldest first.

        Example:
            >>> recorded = ws.services.requests("iris", last=10)
            >>> list(recorded.columns)[:5]
            ['time', 'request_id', 'deployment_id', 'status', 'seconds']

        Args:
            service: the service, created or updated with `recording=True`.
            last: maximum number of requests.

        Returns:
            A row for each request; `request` and `answer` are their JSON values. `attrs` has `kept`, the number of all
            recorded requests, and `dropped`, the number of those that could not be recorded.

        Raises:
            UsageError: the server does not record requests.
            NotFoundError: the service does not exist.
        """
        return frame_of(self.recorded(service, last=last))

    def recorded(self, service: ServiceResponse | str, *, last: int = 100) -> RecordedRequests:
        """Return the newest recorded requests as they were sent, in bytes; see `requests`.

        Args:
            service: the service.
            last: maximum number of requests.

        Raises:
            UsageError: the server does not record requests.
            NotFoundError: the service does not exist.
        """
        service_id = self.id_of(service)
        check_recording(self._transport)
        return read_recorded(self._transport, f"{self._path(service_id)}/requests", last)

    def delete_requests(self, service: ServiceResponse | str) -> None:
        """Delete the recorded requests of a service. Recording continues.

        Args:
            service: the service.

        Raises:
            UsageError: the server does not record requests.
            NotFoundError: the service does not exist.
        """
        service_id = self.id_of(service)
        check_recording(self._transport)
        self._transport.send("DELETE", f"{self._path(service_id)}/requests")

    def data(
        self, service: ServiceResponse | str, *, model: str | None = None, identifier: str | None = None
    ) -> pd.DataFrame:
        """Return the data that the driver collected with `ModelDataCollector`; see `client.monitoring.collected`.

        Args:
            service: the service, created or updated with `collect_model_data=True`.
            model: only rows of the model of this name.
            identifier: only rows collected under this identifier, such as `inputs`.
        """
        return read_collected(self._transport, f"{self._path(service)}/data", model=model, identifier=identifier)

    def drift(
        self,
        service: ServiceResponse | str,
        sample: Any,
        *,
        model: str | None = None,
        identifier: str | None = None,
    ) -> Drift:
        """Return the drift of the inputs that a service collected from a training sample, with an index by column.

        Args:
            service: the service, created or updated with `collect_model_data=True`.
            sample: rows that the model was trained with: a DataFrame with the collected columns, or an array.
            model: only rows of the model of this name.
            identifier: the collector, such as `inputs` (default: the one with most columns of the sample).

        Raises:
            UsageError: no column of the sample was collected.
        """
        name = (service.name if isinstance(service, ServiceResponse) else service) or ""
        return drift_of(name, sample, self.data(service, model=model, identifier=identifier), identifier)
