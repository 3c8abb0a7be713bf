"""`GET /metrics`: what the services do, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from mlmgmt_nb.service import schema
from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.reconciler import ReplicaState
from mlmgmt_nb.service.store import Store

__all__ = ["render"]

_SERVICE = ("account", "service")


def render(store: Store, computes: Computes) -> bytes:
    """All metrics of this moment. Counters begin again when the service process does, as Prometheus expects."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(store, computes))
    return generate_latest(registry)


class _Collector(Collector):
    """Reads the metrics off the store and the computes; nothing is counted twice."""

    def __init__(self, store: Store, computes: Computes) -> None:
        self._store = store
        self._computes = computes

    def collect(self) -> Iterator[Metric]:
        services, operations = schema.services, schema.operations
        with self._store.reading() as db:
            rows = db.execute(select(services).where(~services.c.deleting)).all()
            states = db.execute(
                select(operations.c.kind, operations.c.state, func.count()).group_by(
                    operations.c.kind, operations.c.state
                )
            ).all()
        names = {row.id: (row.account, row.name) for row in rows}
        yield from self._counters(names, {row.id: row.compute_id for row in rows})
        yield self._replicas(names)
        count = GaugeMetricFamily("mlmgmt_operations", "Operations by kind and state.", labels=("kind", "state"))
        for kind, state, number in states:
            count.add_metric((kind, state), number)
        yield count

    def _counters(self, names: dict[str, tuple[str, str]], places: dict[str, str]) -> Iterator[Metric]:
        requests = CounterMetricFamily("mlmgmt_requests", "Scoring requests taken.", labels=_SERVICE)
        failures = CounterMetricFamily("mlmgmt_request_failures", "Requests that the driver failed.", labels=_SERVICE)
        rejected = CounterMetricFamily("mlmgmt_requests_rejected", "Requests beyond the limit.", labels=_SERVICE)
        seconds = CounterMetricFamily("mlmgmt_driver_seconds", "Time spent in the driver.", labels=_SERVICE)
        busy = GaugeMetricFamily("mlmgmt_slots_busy", "Requests being worked on or waiting.", labels=_SERVICE)
        slots = GaugeMetricFamily("mlmgmt_slots", "Requests that the ready replicas accept at once.", labels=_SERVICE)
        for service_id, labels in names.items():
            compute = self._computes[places[service_id]]
            counted, load = compute.counters(service_id), compute.load(service_id)
            requests.add_metric(labels, counted.requests)
            failures.add_metric(labels, counted.failures)
            rejected.add_metric(labels, counted.rejected)
            seconds.add_metric(labels, counted.busy_seconds)
            busy.add_metric(labels, load.busy)
            slots.add_metric(labels, load.slots)
        yield from (requests, failures, rejected, seconds, busy, slots)

    def _replicas(self, names: dict[str, tuple[str, str]]) -> Metric:
        metric = GaugeMetricFamily("mlmgmt_replicas", "Replicas by state.", labels=(*_SERVICE, "state"))
        living = self._computes.replicas()
        for service_id, labels in names.items():
            for state in ReplicaState:
                number = sum(r.service_id == service_id and r.state is state for r in living)
                metric.add_metric((*labels, state.value), number)
        return metric
