"""One round for the services on clusters: observe, decide, act.

The decisions are pure functions in `reconciler` and `conditions`. The state in this module only saves work, except for
the start times of rollouts: after a restart of the service, they count from the restart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Row

from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.compute.declared.protocol import (
    NOTHING,
    Declaration,
    DeclaredCompute,
    Observation,
    StoppedError,
)
from mlmgmt_nb.service.gateway.router import Router
from mlmgmt_nb.service.reconciling.declared import actions as a
from mlmgmt_nb.service.reconciling.declared.autoscaling import Autoscaling
from mlmgmt_nb.service.reconciling.declared.declarations import Declarations
from mlmgmt_nb.service.reconciling.declared.desired import Desired
from mlmgmt_nb.service.reconciling.declared.reconciler import step
from mlmgmt_nb.service.reconciling.declared.reporting import error_of, progress_line
from mlmgmt_nb.service.reconciling.declared.traffic import TrafficSplitter
from mlmgmt_nb.service.reconciling.keys import digests
from mlmgmt_nb.service.reconciling.ports import Ports
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.reconciling.specs import replica_count, scaling
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.system.concurrency import run_concurrently

__all__ = ["DeclaredController"]

_KEYS_SECONDS = 2.0
"""Seconds to wait until a cluster has new keys."""


class DeclaredController:
    """Reconciles the services on clusters.

    Args:
        computes: the clusters by id, as they are configured now.
        router: splits requests between services and their candidates.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        computes: Callable[[], Mapping[str, DeclaredCompute]],
        router: Router,
        recorder: ServiceRecorder,
        declarations: Declarations,
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        self._find_computes = computes
        self._computes: Mapping[str, DeclaredCompute] = {}
        self._recorder = recorder
        self._declarations = declarations
        self._settings = settings
        self._clock = clock
        self._ports = Ports(recorder)
        self._autoscaling = Autoscaling(recorder, settings.calm_seconds)
        self._since: dict[str, float] = {}
        self._ready: dict[str, tuple[str | None, str]] = {}
        self._splitter = TrafficSplitter(router)

    def push_keys(self, row: Row[Any]) -> None:
        """Declare the new keys of a service immediately."""
        compute = self._computes.get(row.compute_id)
        if compute is not None and not compute.replace_keys(row.id, digests(row), _KEYS_SECONDS):
            self._recorder.log(row.id).line("[mlmgmt] the cluster has not confirmed the new keys yet")

    def stop(self) -> None:
        """Stop accepting requests for the services. Declarations stay: the cluster keeps running the pods."""
        self._splitter.stop()
        run_concurrently([compute.stop for compute in self._computes.values()])
        self._since.clear()
        self._ready.clear()
        self._ports.clear()
        self._autoscaling.clear()

    def run(self, services: Mapping[str, Row[Any]]) -> float:
        """Run a round; return the seconds until the next one if nothing changes."""
        self._computes = self._find_computes()
        self._splitter.see(services.values())
        for compute_id, compute in self._computes.items():
            rows = {id_: row for id_, row in services.items() if row.compute_id == compute_id}
            observation = compute.observe()
            if observation is not None:
                with contextlib.suppress(StoppedError):
                    self._reconcile(compute, rows, observation)
        return 1.0

    def _reconcile(self, compute: DeclaredCompute, rows: Mapping[str, Row[Any]], observation: Observation) -> None:
        moment = self._clock()
        declarations: dict[str, Declaration] = {}
        desired = []
        for row in rows.values():
            self._recorder.begin(row)
            if compute.is_open(row.id):
                self._splitter.renew(row, compute)
            try:
                if declaration := self._declaration(row):
                    declarations[row.id] = declaration
            except BuildError as error:
                self._refuse(row, error)
            service = self._desired(row, compute, declarations.get(row.id), moment)
            self._report(row, service, observation)
            if observation.away is None:
                self._autoscaling.adjust(row, compute, observation.services.get(row.id, NOTHING), moment)
            desired.append(service)
        for action in step(desired, observation, moment):
            self._act(action, compute, rows.get(action.service_id), declarations.get(action.service_id))

    def _declaration(self, row: Row[Any]) -> Declaration | None:
        wanted = row.target_id or (row.deployment_id if row.serving_status == "Active" else None)
        return None if wanted is None or row.deleting else self._declarations.make(row, wanted)

    def _refuse(self, row: Row[Any], error: BuildError) -> None:
        """End a rollout whose image cannot be declared. Without a rollout, the service stays as it is."""
        if row.target_id is not None:
            self._recorder.fail(row, error.code, error.message)

    def _desired(
        self, row: Row[Any], compute: DeclaredCompute, declaration: Declaration | None, moment: float
    ) -> Desired:
        return Desired(
            service_id=row.id,
            serving=row.deployment_id if row.serving_status == "Active" else None,
            target=row.target_id,
            fingerprint=compute.fingerprint(declaration) if declaration else None,
            replicas=None if compute.scales_itself else _scale(row),
            since=moment if row.target_id is None else self._since.setdefault(row.target_id, moment),
            start_timeout=self._settings.start_timeout,
            is_open=compute.is_open(row.id),
            is_split=self._splitter.is_wanted(row),
            is_routed=self._splitter.is_made(row),
            deleting=row.deleting,
        )

    def _report(self, row: Row[Any], service: Desired, observation: Observation) -> None:
        """Record the current problem of a service, and log the progress of its rollout."""
        error = error_of(service, row.error, observation)
        if row.error != error:
            self._recorder.set(row.id, error=error)
        seen = observation.services.get(row.id)
        if seen is None or service.target is None or seen.deployment_id != service.target:
            return
        current = (service.target, progress_line(seen))
        if self._ready.get(row.id) != current:
            self._ready[row.id] = current
            self._recorder.log(row.id).line(current[1])

    def _act(
        self, action: a.Action, compute: DeclaredCompute, row: Row[Any] | None, declaration: Declaration | None
    ) -> None:
        match action:
            case a.Open() if row is not None:
                self._open(row, compute)
            case a.Route() | a.Release() if row is not None:
                self._splitter.act(action, row, compute)
            case a.Declare() if declaration is not None:
                compute.declare(declaration)
            case a.Scale():
                compute.scale(action.service_id, action.replicas)
            case a.Remove():
                compute.close(action.service_id)
                compute.remove(action.service_id)
            case a.Succeed() if row is not None:
                self._recorder.succeed(row)
                self._since.pop(row.target_id, None)
            case a.Fail() if row is not None:
                self._recorder.fail(row, action.code, action.message)
                self._since.pop(row.target_id, None)
            case a.Forget():
                self._forget(compute, action.service_id)

    def _open(self, row: Row[Any], compute: DeclaredCompute) -> None:
        if self._splitter.is_made(row):  # with a cluster that was retired: the router still has the port
            self._splitter.act(a.Release(row.id), row, compute)
        if failure := self._ports.open(compute, row, self._clock()):
            self._recorder.fail(row, "NoPort", failure)

    def _forget(self, compute: DeclaredCompute, service_id: str) -> None:
        compute.close(service_id)
        self._recorder.remove(service_id)
        self._ports.forget(service_id)
        self._ready.pop(service_id, None)
        self._autoscaling.forget(service_id)


def _scale(row: Row[Any]) -> int | None:
    """Return the desired number of replicas of a service if its current deployment is autoscaled."""
    return replica_count(row.serving_spec, row.scale) if scaling(row.serving_spec) else None
