"""`GET /metrics`, for all services or for one service, in the Prometheus text format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Row, func, select

from mlmgmt_nb.service.compute.measures import Counters, Measured
from mlmgmt_nb.service.compute.observed import ReplicaState
from mlmgmt_nb.service.reconciling.specs import replica_count
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["render"]

_SERVICE = ("account", "service")


def render(store: Store, computes: Mapping[str, Measured], service_id: str | None = None) -> bytes:
    """Return all current metrics, or those of one service.

    Counters restart with the service process, as Prometheus expects.

    Args:
        computes: the computes by id.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(store, computes, service_id))
    return generate_latest(registry)


class _Collector(Collector):
    """Collects the metrics from the store and the computes; it has no counters."""

    def __init__(self, store: Store, computes: Mapping[str, Measured], service_id: str | None) -> None:
        self._store = store
        self._computes = computes
        self._service_id = service_id

    def collect(self) -> Iterator[Metric]:
        services, deployments = schema.services, schema.deployments
        # The spec of a service is that of its target, or else of its current deployment.
        latest = func.coalesce(services.c.target_id, services.c.deployment_id)
        query = select(services, deployments.c.spec).join(deployments, deployments.c.id == latest)
        query = query.where(~services.c.deleting)
        if self._service_id is not None:
            query = query.where(services.c.id == self._service_id)
        with self._store.reading() as db:
            rows = db.execute(query).all()
        # Services of a cluster that is no longer configured are not measured.
        names = {row.id: (row.account, row.name) for row in rows if row.compute_id in self._computes}
        places = {row.id: self._computes[row.compute_id] for row in rows if row.id in names}
        yield from self._counters(names, places)
        yield self._replicas(names, places)
        yield _wanted(rows)
        if self._service_id is None:
            yield self._operations()

    def _operations(self) -> Metric:
        operations = schema.operations
        with self._store.reading() as db:
            states = db.execute(
                select(operations.c.kind, operations.c.state, func.count()).group_by(
                    operations.c.kind, operations.c.state
                )
            ).all()
        count = GaugeMetricFamily("mlmgmt_operations", "Operations by kind and state.", labels=("kind", "state"))
        for kind, state, number in states:
            count.add_metric((kind, state), number)
        return count

    def _counters(self, names: dict[str, tuple[str, str]], places: dict[str, Measured]) -> Iterator[Metric]:
        requests = CounterMetricFamily("mlmgmt_requests", "Scoring requests accepted.", labels=_SERVICE)
        failures = CounterMetricFamily(
            "mlmgmt_request_failures", "Requests that failed in the driver.", labels=_SERVICE
        )
        rejected = CounterMetricFamily(
            "mlmgmt_requests_rejected", "Requests rejected because all slots were taken.", labels=_SERVICE
        )
        seconds = CounterMetricFamily("mlmgmt_driver_seconds", "Time spent in the driver.", labels=_SERVICE)
        busy = GaugeMetricFamily("mlmgmt_slots_busy", "Requests in progress or waiting.", labels=_SERVICE)
        slots = GaugeMetricFamily("mlmgmt_slots", "Maximum concurrent requests of the ready replicas.", labels=_SERVICE)
        latency = HistogramMetricFamily(
            "mlmgmt_request_seconds", "Time from a request's headers to its response.", labels=_SERVICE
        )
        memory = GaugeMetricFamily("mlmgmt_memory_bytes", "Memory of the replicas, if it is known.", labels=_SERVICE)
        recorded = CounterMetricFamily("mlmgmt_requests_recorded", "Requests that were recorded.", labels=_SERVICE)
        not_recorded = CounterMetricFamily(
            "mlmgmt_requests_not_recorded",
            "Requests that were to be recorded and are not, because there were too many.",
            labels=_SERVICE,
        )
        for service_id, labels in names.items():
            compute = places[service_id]
            counted, load = compute.counters(service_id), compute.load(service_id)
            requests.add_metric(labels, counted.requests)
            failures.add_metric(labels, counted.failures)
            rejected.add_metric(labels, counted.rejected)
            seconds.add_metric(labels, counted.busy_seconds)
            if load is not None:
                busy.add_metric(labels, load.busy)
                slots.add_metric(labels, load.slots)
            if size := compute.memory(service_id):
                memory.add_metric(labels, size)
            recorded.add_metric(labels, counted.recorded)
            not_recorded.add_metric(labels, counted.not_recorded)
            if counted.latency:
                latency.add_metric(labels, _buckets(counted), counted.latency_seconds)
        yield from (requests, failures, rejected, seconds, busy, slots, latency, memory, recorded, not_recorded)

    def _replicas(self, names: dict[str, tuple[str, str]], places: dict[str, Measured]) -> Metric:
        metric = GaugeMetricFamily("mlmgmt_replicas", "Replicas by state.", labels=(*_SERVICE, "state"))
        for service_id, labels in names.items():
            states = places[service_id].states(service_id)
            for state in ReplicaState:
                metric.add_metric((*labels, state.value), states.get(state, 0))
        return metric


def _buckets(counted: Counters) -> list[tuple[str, float]]:
    """Return cumulative buckets, as Prometheus expects."""
    buckets, total = [], 0
    for bound, count in sorted(counted.latency.items(), key=lambda item: float(item[0])):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def _wanted(rows: Sequence[Row[Any]]) -> Metric:
    metric = GaugeMetricFamily("mlmgmt_replicas_wanted", "Desired number of replicas.", labels=_SERVICE)
    for row in rows:
        metric.add_metric((row.account, row.name), replica_count(row.spec, row.scale))
    return metric
