"""One round for the services whose replicas this service starts: observe the computes, decide, act.

The decisions are pure functions in `reconciler` and `autoscaler`; this module connects them to the computes, the store
and the logs. Its state between rounds only saves work, or is about the replicas of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.compute.base import Exit
from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.gateway.router import Router
from mlmgmt_nb.service.gateway.split import Split
from mlmgmt_nb.service.reconciling.candidates import split_of
from mlmgmt_nb.service.reconciling.keys import KeyDistribution
from mlmgmt_nb.service.reconciling.ports import Ports
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.reconciling.replicas import actions as a
from mlmgmt_nb.service.reconciling.replicas.autoscaling import Autoscaling
from mlmgmt_nb.service.reconciling.replicas.crashes import CrashHistory
from mlmgmt_nb.service.reconciling.replicas.desired import Desired
from mlmgmt_nb.service.reconciling.replicas.launches import Launches
from mlmgmt_nb.service.reconciling.replicas.progress import RolloutProgress
from mlmgmt_nb.service.reconciling.replicas.reconciler import backoff, is_settled, step
from mlmgmt_nb.service.reconciling.service_rows import changed_services, kept_deployment
from mlmgmt_nb.service.reconciling.specs import replica_count, scaling
from mlmgmt_nb.service.settings import Settings

__all__ = ["ReplicaController"]

_KEYS_SECONDS = 1.0
"""Seconds that replicas have to confirm new keys."""
_CHECK_SECONDS = 60.0
"""Seconds after which settled services are checked although their rows have not changed."""


class ReplicaController:
    """Reconciles the replicas that this service starts.

    Args:
        run_again: requests another round.
        clock: monotonic time in seconds.
        router: splits requests between services and their candidates.
    """

    def __init__(
        self,
        computes: Computes,
        router: Router,
        recorder: ServiceRecorder,
        launches: Launches,
        settings: Settings,
        run_again: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._computes = computes
        self._router = router
        self._recorder = recorder
        self._launches = launches
        self._settings = settings
        self._run_again = run_again
        self._clock = clock
        self._all: Mapping[str, Row[Any]] = {}
        self._services: Mapping[str, Row[Any]] = {}  # those on `computes`
        self._candidates: Mapping[str, Row[Any]] = {}  # by the id of their service
        self._settled: set[str] = set()
        self._checked = clock()
        self._crashes = CrashHistory()
        self._autoscaling = Autoscaling(computes, recorder, settings.calm_seconds)
        self._keys = KeyDistribution(computes)
        self._ports = Ports(recorder)
        self._progress = RolloutProgress(recorder)

    def push_keys(self, row: Row[Any]) -> None:
        """Send the keys of a service to its replicas."""
        if row.compute_id in self._computes and not self._keys.push(row, _KEYS_SECONDS):
            self._recorder.log(row.id).line("[mlmgmt] a replica has not confirmed its new keys yet")

    def stop(self) -> None:
        """End all replicas and clear the state about them: another process may run the services next."""
        self._router.stop()
        self._computes.stop(self._settings.drain_timeout)
        self._settled.clear()
        for known in (self._crashes, self._autoscaling, self._recorder, self._keys, self._ports):
            known.clear()

    def run(self, services: Mapping[str, Row[Any]]) -> float:
        """Run a round; return the seconds until the next one if nothing changes.

        Args:
            services: all services by id; the same object as before if the store has not changed.
        """
        moment = self._clock()
        rows = self._pending(services, moment)
        for ended in self._computes.exits():
            self._add_crash(ended, moment, is_logged=ended.service_id in rows)
        replicas = self._computes.replicas()
        starting = {replica.service_id for replica in replicas if replica.state is ReplicaState.STARTING}
        for row in rows.values():
            self._recorder.begin(row)
            self._autoscaling.adjust(
                row,
                self._services.values(),
                moment,
                starting=row.id in starting,
                is_split=self._shares_requests(row.candidate_of or row.id),
            )
            self._keys.renew(row)
            self._renew_split(row)
        desired = [self._desired(row) for row in rows.values() if self._has_service(row)]
        self._progress.log(desired, replicas)
        actions = step(desired, replicas, self._crashes.crashes, moment)
        for action in actions:
            self._act(action, rows.get(action.service_id))
        self._report_crashes(rows, moment)
        self._settle(desired, replicas, moment)
        return self._pause_after(actions)

    def _pending(self, services: Mapping[str, Row[Any]], moment: float) -> dict[str, Row[Any]]:
        """Return the services that may need an action; periodically, return all of them."""
        if services is not self._all:
            self._settled -= changed_services(self._all, services)
            self._index(services)
        if moment - self._checked >= _CHECK_SECONDS:
            self._checked = moment
            self._settled.clear()
        self._settled -= self._computes.connected()
        return {id_: row for id_, row in self._services.items() if id_ not in self._settled}

    def _index(self, services: Mapping[str, Row[Any]]) -> None:
        self._all = services
        self._services = {id_: row for id_, row in services.items() if row.compute_id in self._computes}
        living = [row for row in self._services.values() if row.candidate_of is not None and not row.deleting]
        self._candidates = {row.candidate_of: row for row in living}

    def _settle(self, desired: Sequence[Desired], replicas: Sequence[Replica], moment: float) -> None:
        """Skip services from now on that do not change until a request arrives or the store changes."""
        has_replicas = {replica.service_id for replica in replicas}
        self._settled.update(
            service.service_id
            for service in desired
            if service.service_id not in has_replicas and is_settled(service, self._crashes.crashes, moment)
        )

    def _pause_after(self, actions: Sequence[a.Action]) -> float:
        if any(isinstance(action, a.Succeed | a.Fail) for action in actions):
            return 0.0
        # Nothing wakes the loop at the end of a back-off.
        backs_off = any(isinstance(action, a.Refuse) and action.service_id not in self._settled for action in actions)
        return 0.1 if backs_off else 1.0

    def _has_service(self, row: Row[Any]) -> bool:
        """Return False for a candidate whose service does not have a socket yet, which its replicas need too."""
        if row.candidate_of is None or row.deleting:
            return True
        return self._computes[row.compute_id].is_open(row.candidate_of)

    def _is_promoted(self, row: Row[Any]) -> bool:
        """Return whether a candidate hands its replicas over to its service."""
        service = self._services.get(row.candidate_of or "")
        return service is not None and service.target_id is not None and service.adopts_id == row.deployment_id

    def _may_get_requests(self, row: Row[Any]) -> bool:
        """Return whether the router may still send requests to a candidate: it ends only afterwards."""
        return row.candidate_of is not None and self._router.sends_to(row.candidate_of, row.id)

    def _desired(self, row: Row[Any]) -> Desired:
        return Desired(
            service_id=row.id,
            serving=row.deployment_id if row.serving_status == "Active" else None,
            target=row.target_id,
            replicas=replica_count(row.serving_spec, row.scale),
            target_replicas=replica_count(row.target_spec, row.scale) if row.target_spec else 0,
            start_timeout=self._settings.start_timeout,
            drain_timeout=self._settings.drain_timeout,
            hang_timeout=self._settings.hang_timeout,
            is_open=self._computes[row.compute_id].is_open(row.id),
            sleeps=scaling(row.serving_spec) is not None,
            deleting=row.deleting and not self._may_get_requests(row),
            adopts=row.adopts_id,
            keeps=kept_deployment(row, now()),
            is_promoted=self._is_promoted(row),
            is_split=row.target_id is None and self._split(row) is not None,
            is_routed=self._router.is_routed(row.id),
        )

    def _shares_requests(self, service_id: str) -> bool:
        """Return whether the requests of a service are split, or will be once both sides have a replica."""
        return self._router.is_routed(service_id) or self._sharing_candidate(service_id) is not None

    def _sharing_candidate(self, service_id: str) -> Row[Any] | None:
        """Return the candidate of a service if it should get requests, or copies."""
        candidate = self._candidates.get(service_id)
        if candidate is None or candidate.deleting or candidate.traffic is None or not candidate.traffic.is_active:
            return None
        return candidate

    def _split(self, row: Row[Any]) -> Split | None:
        """Return the split of the requests of a service; None if its candidate does not get any."""
        candidate = self._sharing_candidate(row.id)
        if candidate is None or 0 in {replica_count(side.serving_spec, side.scale) for side in (row, candidate)}:
            return None
        compute = self._computes[row.compute_id]
        old = compute.private_port(row.id, row.deployment_id)
        new = compute.private_port(candidate.id, candidate.deployment_id)
        if old is None or new is None:
            return None
        return split_of(row, candidate, old, new)

    def _renew_split(self, row: Row[Any]) -> None:
        """Send the current split of a service to the router."""
        if self._router.is_routed(row.id):
            self._router.split(row.id, self._split(row))

    def _route(self, row: Row[Any]) -> None:
        if (split := self._split(row)) is not None:
            self._router.route(row.id, self._computes[row.compute_id].socket_of(row.id), split)
            self._run_again()

    def _add_crash(self, ended: Exit, moment: float, *, is_logged: bool) -> None:
        count = self._crashes.add(ended, moment)
        if is_logged and (pause := backoff(count)):
            line = f"[mlmgmt] {count} crashes in a row; the next start is in {pause:.0f} s"
            self._recorder.log(ended.service_id).line(line)

    def _report_crashes(self, rows: Mapping[str, Row[Any]], moment: float) -> None:
        """Record in the service's `error` that its replicas keep dying, and clear that when they recover."""
        for row in rows.values():
            is_open = self._computes[row.compute_id].is_open(row.id)
            error = self._crashes.error_of(row, moment, is_open=is_open)
            if row.error != error:
                self._recorder.set(row.id, error=error)

    def _act(self, action: a.Action, row: Row[Any] | None) -> None:
        match action:
            case a.Kill() | a.Drain() | a.Keep() | a.Show():
                self._act_on_replica(action)
            case a.Release():
                self._router.release(action.service_id)
                self._run_again()
            case a.Close():
                self._close(action.service_id)
            case _ if row is not None:
                self._act_on_service(action, row)

    def _act_on_replica(self, action: a.Kill | a.Drain | a.Keep | a.Show) -> None:
        match action:
            case a.Kill():
                self._computes.kill(action.replica_id, hung=action.hung)
            case a.Drain():
                self._computes.drain(action.replica_id, self._settings.drain_timeout)
            case a.Keep():
                self._computes.keep(action.replica_id)
            case a.Show():
                self._computes.show(action.replica_id, at_service=action.at_service)
                self._run_again()

    def _act_on_service(self, action: a.Action, row: Row[Any]) -> None:
        match action:
            case a.Adopt():
                log = self._recorder.log(row.id)
                self._computes.adopt(action.replica_id, row.id, action.deployment_id, log)
            case a.Route():
                self._route(row)
            case a.Open():
                self._open(row)
            case a.Start():
                self._start(row, action.deployment_id)
            case a.Refuse():
                self._computes[row.compute_id].refuse(action.service_id, action.message)
            case a.Succeed():
                self._succeed(row, action.warning)
            case a.Fail():
                self._fail(row, action.code, action.message)

    def _open(self, row: Row[Any]) -> None:
        if failure := self._ports.open(self._computes[row.compute_id], row, self._clock()):
            self._fail(row, "NoPort", failure)

    def _start(self, row: Row[Any], deployment_id: str) -> None:
        launch = self._launches.launch(row, deployment_id, self._recorder.log(row.id))
        try:
            self._computes[row.compute_id].start(launch)
        except OSError as error:
            # Its files may be missing, or the machine may be out of processes. The other services continue.
            where = f" ({error.filename})" if error.filename else ""
            fix = ". Run `mlmgmt check`: its image may be damaged" if isinstance(error, FileNotFoundError) else ""
            message = f"A replica cannot be started: {error.strerror or error}{where}{fix}"
            launch.log.line(f"[mlmgmt] {message}")
            failed = Exit(
                service_id=row.id, deployment_id=deployment_id, code="StartFailed", message=message, permanent=False
            )
            self._add_crash(failed, self._clock(), is_logged=True)
            self._run_again()

    def _succeed(self, row: Row[Any], warning: str | None) -> None:
        if self._recorder.succeed(row, warning):
            self._crashes.forget(row.target_id)
            kept = {row.target_id, kept_deployment(row, now()) or row.target_id}
            self._computes[row.compute_id].forget_deployments(row.id, kept)
            self._check_kept(row)

    def _check_kept(self, row: Row[Any]) -> None:
        """Record and log if no replica of the earlier deployment could be kept: all died, or their image is too old."""
        kept = kept_deployment(row, now())
        found = [replica.state for replica in self._computes.replicas() if replica.deployment_id == kept]
        if kept is not None and ReplicaState.KEPT not in found:
            self._recorder.forget_kept(row.id)
            self._recorder.log(row.id).line("[mlmgmt] no replica of the earlier deployment could be kept")

    def _fail(self, row: Row[Any], code: str, message: str) -> None:
        if self._recorder.fail(row, code, message):
            self._crashes.forget(row.target_id)

    def _close(self, service_id: str) -> None:
        self._router.release(service_id)
        self._computes.close(service_id)
        self._recorder.remove(service_id)
        self._keys.forget(service_id)
        self._ports.forget(service_id)
