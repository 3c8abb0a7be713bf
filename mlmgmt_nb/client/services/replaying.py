"""Replays: requests that a service recorded, or other cases, sent to it and to another service or URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from mlmgmt_nb.client.services.monitoring import ServiceMonitoring
from mlmgmt_nb.client.services.scoring import ServiceScoring
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from mlmgmt_nb.client.replays.replay import Endpoint, ReplayOptions
    from mlmgmt_nb.client.replays.report import ReplayReport

__all__ = ["ReplayCases", "ServiceReplays"]

_OF_COLLECTION = ("model", "identifier", "$Timestamp", "$CorrelationId", "$RequestId")
"""Columns that `services.data` adds to the collected ones."""


class ReplayCases:
    """The requests of a replay.

    Attributes:
        bodies: their bodies.
        skipped: recorded requests without a body.
        redacted: requests with replaced values.
    """

    def __init__(self, bodies: Sequence[bytes], skipped: int = 0, redacted: int = 0) -> None:
        self.bodies, self.skipped, self.redacted = bodies, skipped, redacted

    def __repr__(self) -> str:
        return f"<ReplayCases: {len(self.bodies):,} requests, {self.skipped:,} skipped, {self.redacted:,} redacted>"


class ServiceReplays(ServiceScoring, ServiceMonitoring):
    """Replay requests."""

    def replay(
        self,
        service: ServiceResponse | str,
        to: ServiceResponse | str | Endpoint,
        *,
        cases: pd.DataFrame | Sequence[Any] | None = None,
        last: int = 1000,
        key: str | None = None,
        on_progress: Callable[[ReplayReport], None] | None = None,
        **options: Unpack[ReplayOptions],
    ) -> ReplayReport:
        """Send the same requests to a service and to another one, and compare the answers pair by pair.

        Requests have the header `x-mlmgmt-copy: replay`. An interrupt ends the replay and keeps the results so far.

        Example:
            >>> report = ws.services.replay("iris", "iris", cases=[[[5.1, 3.5, 1.4, 0.2]], [[6.7, 3.0, 5.2, 2.3]]])
            >>> report.summary["equal"], report.summary["lost"]
            (2, 0)
            >>> report.fields["field"].tolist()
            ['answer']

        Args:
            service: the service, `old` in the report.
            to: the other side, `new` in the report: a service, a scoring URL or an `Endpoint`.
            cases: a DataFrame with a row for each case, a list of inputs as `run` takes them, or the result of
                `services.data` or `services.requests` (default: the requests that the service recorded).
            last: maximum number of recorded requests; the newest are used.
            key: key of a scoring URL.
            on_progress: called several times a second with the report so far.
            **options: see `ReplayOptions`.

        Raises:
            UsageError: the cases are empty, or nothing was recorded. Nothing was sent.
            NotFoundError: a service does not exist.
        """
        from mlmgmt_nb.client.replays.replay import replay  # not needed to deploy

        found = self.get(self.id_of(service))
        old, new = self.endpoint(found), self.endpoint(to, key=key)
        chosen = self.replay_cases(found, cases, last)
        report = replay(old, new, chosen.bodies, on_progress=on_progress, **options)
        report.skipped, report.redacted = chosen.skipped, chosen.redacted
        return report

    def endpoint(self, of: ServiceResponse | str | Endpoint, *, key: str | None = None) -> Endpoint:
        """Return one side of a replay.

        Args:
            of: a service, or a scoring URL.
            key: key of a scoring URL.
        """
        from mlmgmt_nb.client.replays.replay import Endpoint  # not needed to deploy

        if isinstance(of, Endpoint):
            return of
        if isinstance(of, str) and of.startswith(("http://", "https://")):
            return Endpoint(of, of, key)
        found = self.get(self.id_of(of))
        scorer = self._scorer(found)
        return Endpoint(found.name or "", scorer.scoring_uri, scorer.key, lambda: self._memory(found))

    def replay_cases(self, service: Service, cases: Any, last: int) -> ReplayCases:
        """Return the requests of a replay.

        Args:
            service: the service, whose description names the argument of rows.
            cases: as `replay` takes them; None for recorded requests.
            last: number of recorded requests.
        """
        from mlmgmt_nb.client.scoring_tests.cases import cases_of  # not needed to deploy

        if cases is None:
            return self._recorded_cases(service, last)
        if hasattr(cases, "columns"):
            if {"request", "answer", "request_id"} <= set(cases.columns):  # a result of `services.requests`
                return self._cases_of_frame(service, cases)
            if "$RequestId" in cases.columns:
                cases = cases.drop(columns=[name for name in _OF_COLLECTION if name in cases.columns])
        return ReplayCases(cases_of(cases, self._scorer(service).description(), None).bodies)

    def _cases_of_frame(self, service: Service, frame: Any) -> ReplayCases:
        """Return the requests of a result of `services.requests`, without those whose bodies were not recorded."""
        from mlmgmt_nb.client.scoring_tests.cases import cases_of  # not needed to deploy

        kept = frame[frame["request"].notna()]
        if kept.empty:
            raise UsageError(
                "cases: no request in this DataFrame has a body",
                field="cases",
                fix="Give other cases. Bodies that cannot be redacted are not recorded.",
            )
        bodies = cases_of(kept["request"].tolist(), self._scorer(service).description(), None).bodies
        redacted = int(kept["redacted"].sum()) if "redacted" in kept.columns else 0
        return ReplayCases(bodies, len(frame) - len(kept), redacted)

    def check_recorded(self, service: Service) -> None:
        """Check that a service has recorded requests, with one request.

        Args:
            service: the service.

        Raises:
            UsageError: it does not have any, or the server does not record requests.
        """
        if not self.recorded(service, last=1).value:
            raise _nothing_recorded(service)

    def _recorded_cases(self, service: Service, last: int) -> ReplayCases:
        found = self.recorded(service, last=last).value
        bodies = [one.request for one in found if one.request is not None]
        if not bodies:
            raise _nothing_recorded(service)
        redacted = sum(one.redacted for one in found if one.request is not None)
        return ReplayCases(bodies, len(found) - len(bodies), redacted)

    def _memory(self, service: Service) -> int | None:
        """Return the bytes of memory of a replica, on average; None if the server does not report them."""
        try:
            found = self.metrics(service)
        except NotFoundError:
            return None
        return None if found.memory is None else found.memory // max(1, sum(found.replicas.values()))


def _nothing_recorded(service: Service) -> UsageError:
    return UsageError(
        f"service {service.name!r} has no recorded requests",
        field="cases",
        fix=f"Give cases, or record requests: `ws.services.update({service.name!r}, recording=True)`.",
    )
