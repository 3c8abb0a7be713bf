"""Logs, metrics and collected data of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlmgmt_nb.client.drift.report import Drift, drift_of
from mlmgmt_nb.client.monitoring.collected import read_collected
from mlmgmt_nb.client.monitoring.logs import LogPart, read_log
from mlmgmt_nb.client.monitoring.metrics import ServiceMetrics, parse_metrics
from mlmgmt_nb.client.services.lookup import ServiceLookup
from mlmgmt_nb.contract import ServiceResponse

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ServiceMonitoring"]


class ServiceMonitoring(ServiceLookup):
    """Read the logs, metrics and collected data of services."""

    def logs(self, service: ServiceResponse | str, *, offset: int = 0, tail: int | None = None) -> LogPart:
        """Return the log of a service and its replicas.

        Args:
            service: the service.
            offset: byte where to start: the `next_offset` of an earlier part.
            tail: number of lines at the end.
        """
        return read_log(self._transport, f"{self._path(service)}/logs", offset=offset, tail=tail)

    def metrics(self, service: ServiceResponse | str) -> ServiceMetrics:
        """Return what the replicas of a service have counted, how many there are, and how long requests took.

        Raises:
            NotFoundError: the service does not exist, or the server has no metrics of services.
        """
        return parse_metrics(self._transport.send("GET", f"{self._path(service)}/metrics").text)

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
        """Return how far the inputs that a service collected are from a training sample, with an index by column.

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
