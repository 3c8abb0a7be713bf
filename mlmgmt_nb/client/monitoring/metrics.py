"""The metrics of a service: requests, failures, latencies and replicas."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mlmgmt_nb.short_repr import ShortRepr

__all__ = ["ServiceMetrics", "parse_metrics"]

_NUMBERS = {
    "mlmgmt_requests_total": "requests",
    "mlmgmt_request_failures_total": "failures",
    "mlmgmt_requests_rejected_total": "rejected",
    "mlmgmt_slots_busy": "busy",
    "mlmgmt_slots": "slots",
    "mlmgmt_replicas_wanted": "wanted",
    "mlmgmt_requests_recorded_total": "recorded",
    "mlmgmt_requests_not_recorded_total": "not_recorded",
    "mlmgmt_memory_bytes": "memory",
}


@dataclass(frozen=True, repr=False)
class ServiceMetrics(ShortRepr):
    """The metrics of a service at one moment, or between two.

    Attributes:
        requests: scoring requests accepted since the service process started.
        failures: requests that the driver failed or did not finish in time.
        rejected: requests refused because all slots were taken.
        busy: requests that are running or waiting now.
        slots: maximum number of requests that the ready replicas accept at the same time.
        wanted: desired number of replicas.
        replicas: number of replicas by state: `starting`, `ready`, `draining`.
        latency: answered requests by latency: pairs of a bucket's upper bound in seconds and its count.
        recorded: requests that were recorded.
        not_recorded: requests that should have been recorded but were too many or too large.
        memory: bytes of memory of all replicas; None if they are not known.
    """

    requests: int = 0
    failures: int = 0
    rejected: int = 0
    busy: int = 0
    slots: int = 0
    wanted: int = 0
    replicas: dict[str, int] = field(default_factory=dict)
    latency: tuple[tuple[float, int], ...] = field(default=(), repr=False)
    recorded: int = 0
    not_recorded: int = 0
    memory: int | None = None

    @property
    def ready(self) -> int:
        """The number of ready replicas."""
        return self.replicas.get("ready", 0)

    def since(self, earlier: ServiceMetrics) -> ServiceMetrics:
        """Return the counts since an `earlier` moment; values that are not counts are the current ones.

        If the counters were reset by a restart of the service process, their whole current value counts.

        Example:
            >>> ServiceMetrics(requests=50).since(ServiceMetrics(requests=20)).requests
            30
        """
        before = ServiceMetrics() if self.requests < earlier.requests else earlier
        counted = dict(before.latency)
        return ServiceMetrics(
            requests=self.requests - before.requests,
            failures=max(0, self.failures - before.failures),
            rejected=max(0, self.rejected - before.rejected),
            busy=self.busy,
            slots=self.slots,
            wanted=self.wanted,
            replicas=self.replicas,
            latency=tuple((bound, max(0, count - counted.get(bound, 0))) for bound, count in self.latency),
            recorded=max(0, self.recorded - before.recorded),
            not_recorded=max(0, self.not_recorded - before.not_recorded),
            memory=self.memory,
        )

    def percentile(self, percent: float) -> float | None:
        """Return the seconds within which `percent` of the requests were answered; None without requests.

        It is read from the buckets, so it is exact to the width of a bucket.

        Example:
            >>> ServiceMetrics(latency=((0.01, 90), (0.1, 10))).percentile(90)
            0.01
        """
        rank = sum(count for _, count in self.latency) * percent / 100
        if not rank:
            return None
        lower = 0.0
        for bound, count in self.latency:
            if count and count >= rank:
                return lower if math.isinf(bound) else lower + (bound - lower) * rank / count
            rank -= count
            lower = bound
        return lower


def parse_metrics(text: str) -> ServiceMetrics:
    """Return the metrics of one service from the text format of Prometheus; unknown metrics are left out."""
    from prometheus_client.parser import text_string_to_metric_families  # needed only for metrics

    numbers: dict[str, int] = {}
    replicas: dict[str, int] = {}
    totals: dict[float, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in _NUMBERS:
                numbers[_NUMBERS[sample.name]] = int(sample.value)
            elif sample.name == "mlmgmt_replicas":
                replicas[sample.labels["state"]] = int(sample.value)
            elif sample.name == "mlmgmt_request_seconds_bucket":
                totals[float(sample.labels["le"])] = int(sample.value)
    latency, before = [], 0
    for bound, total in sorted(totals.items()):
        latency.append((bound, total - before))
        before = total
    return ServiceMetrics(**numbers, replicas=replicas, latency=tuple(latency))
