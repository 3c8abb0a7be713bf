"""The supervisor: one loop that makes the actual state match the desired state, for all services and computes.

Each round reads the services from the store, observes the computes, calls the reconciler, and acts. It runs when
something has changed, and at least once a second. Its whole state is in the store, so nothing is lost when it ends. If
several processes share the store, only the loop of the leader acts.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select, update

from mlmgmt_nb.contract import ErrorResponse
from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.service.compute.base import Exit, Launch
from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.reconciling import reconciler as r
from mlmgmt_nb.service.reconciling.autoscaler import ScaleState, decide
from mlmgmt_nb.service.reconciling.capacity import replicas_that_fit
from mlmgmt_nb.service.reconciling.conditions import with_condition, without_condition
from mlmgmt_nb.service.reconciling.service_rows import ServiceRows
from mlmgmt_nb.service.reconciling.specs import cpus, memory_bytes, replica_count, scaling, slots
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.errors import is_passing
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.store.transitions import rollout_failed, rollout_succeeded

__all__ = ["Supervisor", "service_log"]

log = logging.getLogger(__name__)

_LONG_LIFE_SECONDS = 10.0
"""Ready time after which a crash is not consecutive to earlier crashes, and the replica is replaced immediately."""
_KEYS_SECONDS = 1.0
_PORT_SECONDS = 5.0
"""Seconds that a rollout waits for the port of its service while another program uses it."""


def service_log(home: Home, service_id: str) -> Log:
    return Log(home.logs / "services" / service_id)


class Supervisor:
    """The loop, in its own thread.

    Args:
        leads: returns whether this process runs the replicas.
        adopt: called before it starts to run them; cleans up after the previous process.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        store: Store,
        home: Home,
        settings: Settings,
        make_computes: Callable[[Callable[[], None]], Computes],
        *,
        leads: Callable[[], bool],
        adopt: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._home = home
        self._settings = settings
        self._leads = leads
        self._adopt = adopt
        self._is_leading = False
        self._clock = clock
        self._wake = threading.Event()
        self._rows = ServiceRows(store, clock)
        self._all: Mapping[str, Row[Any]] = {}
        self._settled: set[str] = set()
        self._stopping = False
        self.computes = make_computes(self._wake.set)
        self._crashes: dict[str, r.Crashes] = {}
        self._scales: dict[str, ScaleState] = {}
        self._logs: dict[str, Log] = {}
        self._keys: dict[str, list[str]] = {}
        self._told: dict[str, tuple[str, int]] = {}
        self._portless: dict[str, float] = {}
        # Replicas are children of this thread: the kernel ends them when the thread, and so the process, ends.
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Run a round now, because something has changed in the store."""
        self._rows.invalidate()
        self._wake.set()

    def stop(self) -> None:
        """End the loop, then every replica."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def push_keys(self, service_id: str) -> None:
        """Send the keys in the store to the replicas of a service."""
        services = schema.services
        self.wake()
        with self._store.reading() as db:
            row = db.execute(select(services).where(services.c.id == service_id)).one_or_none()
        if row is not None and not self.computes[row.compute_id].set_keys(service_id, _digests(row), _KEYS_SECONDS):
            self._log(service_id).line("[mlmgmt] a replica has not confirmed its new keys yet")

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._lead_or_not()
                pause = self._round() if self._is_leading else 1.0
            except Exception as error:
                # The loop must survive a failure in one round; the next round sees the same state again.
                if is_passing(error):
                    log.warning("the supervisor is waiting for the store: %s", error)
                else:
                    log.exception("a round of the supervisor failed")
                pause = 1.0
            self._wake.wait(pause)
        self.computes.stop(self._settings.drain_timeout)

    def _lead_or_not(self) -> None:
        """Start or stop running the replicas when this process becomes or ceases to be the leader."""
        if self._leads() and not self._is_leading:
            self._adopt()
            self._is_leading = True
        elif self._is_leading and not self._leads():
            # Another process is about to open the same ports.
            self.computes.stop(self._settings.drain_timeout)
            self._settled.clear()
            for known in (self._crashes, self._scales, self._logs, self._keys, self._portless):
                known.clear()
            self._is_leading = False

    def _round(self) -> float:
        """Observe, decide and act; return the seconds until the next round if nothing changes."""
        moment = self._clock()
        rows = self._unsettled()
        for ended in self.computes.exits():
            self._note_crash(ended, rows, moment)
        replicas = self.computes.replicas()
        starting = {replica.service_id for replica in replicas if replica.state is ReplicaState.STARTING}
        for row in rows.values():
            self._begin(row)
            self._autoscale(row, starting, moment)
            self._renew_keys(row)
        desired = [self._desired(row) for row in rows.values()]
        self._log_rollouts(desired, replicas)
        actions = r.step(desired, replicas, self._crashes, moment)
        for action in actions:
            self._act(action, rows.get(action.service_id))
        self._report(rows, moment)
        self._settle(desired, replicas, moment)
        if any(isinstance(action, r.Succeed | r.Fail) for action in actions):
            return 0.0
        # The end of a back-off is not announced.
        backs_off = any(isinstance(a, r.Refuse) and a.service_id not in self._settled for a in actions)
        return 0.1 if backs_off else 1.0

    def _unsettled(self) -> dict[str, Row[Any]]:
        """Return the services to process: all of them if the store has changed, else those that may need an action."""
        self._all, is_new = self._rows.look()
        if is_new:
            self._settled.clear()
        connected = self.computes.connected()
        self._settled -= connected
        return {id_: row for id_, row in self._all.items() if id_ not in self._settled}

    def _settle(self, desired: Sequence[r.Desired], replicas: Sequence[Replica], moment: float) -> None:
        """Skip services that stay as they are until a request arrives or the store changes."""
        has_replicas = {replica.service_id for replica in replicas}
        self._settled.update(
            service.service_id
            for service in desired
            if service.service_id not in has_replicas and r.is_settled(service, self._crashes, moment)
        )

    # --- observing -------------------------------------------------------------------------------------------------

    def _desired(self, row: Row[Any]) -> r.Desired:
        return r.Desired(
            service_id=row.id,
            serving=row.deployment_id if row.serving_status == "Active" else None,
            target=row.target_id,
            replicas=replica_count(row.serving_spec, row.scale),
            target_replicas=replica_count(row.target_spec, row.scale) if row.target_spec else 0,
            start_timeout=self._settings.start_timeout,
            drain_timeout=self._settings.drain_timeout,
            hang_timeout=self._settings.hang_timeout,
            is_open=self.computes[row.compute_id].is_open(row.id),
            sleeps=scaling(row.serving_spec) is not None,
            deleting=row.deleting,
        )

    def _note_crash(self, ended: Exit, rows: dict[str, Row[Any]], moment: float) -> None:
        before = self._crashes.get(ended.deployment_id)
        in_a_row = before is not None and moment - before.last < r.STEADY_SECONDS and ended.lived < _LONG_LIFE_SECONDS
        count = before.count if before is not None and in_a_row else 0
        self._crashes[ended.deployment_id] = r.Crashes(
            count=count + 1, last=moment, code=ended.code, message=ended.message, permanent=ended.permanent
        )
        if ended.service_id in rows and (pause := r.backoff(count + 1)):
            self._log(ended.service_id).line(
                f"[mlmgmt] {count + 1} crashes in a row; the next start is in {pause:.0f} s"
            )

    def _autoscale(self, row: Row[Any], starting: set[str], moment: float) -> None:
        auto = scaling(row.serving_spec)
        if (
            auto is None
            or row.target_id is not None
            or row.deleting
            or not self.computes[row.compute_id].is_open(row.id)
        ):
            self._scales.pop(row.id, None)
            return
        state = self._scales.get(row.id) or ScaleState(replicas=row.scale or 0, decided=moment, looked=moment)
        asleep = state.replicas == 0
        compute = self.computes[row.compute_id]
        has_request = asleep and compute.has_pending_connection(row.id)
        if asleep and row.scale == 0 and not has_request and auto.minimum == 0:
            self._scales[row.id] = state
            return
        # The requested maximum may exceed the capacity.
        room = replicas_that_fit(row.serving_spec, self._others(row), compute.capacity())
        auto = msgspec.structs.replace(auto, maximum=max(auto.minimum, 1, min(auto.maximum, room)))
        after = decide(
            state,
            auto,
            compute.load(row.id),
            slots(row.serving_spec),
            moment,
            calm_seconds=self._settings.calm_seconds,
            has_request=has_request,
            starting=row.id in starting,
        )
        self._scales[row.id] = after
        if after.replicas != row.scale:
            services = schema.services
            with self._store.writing() as db:
                db.execute(update(services).where(services.c.id == row.id).values(scale=after.replicas))
            self._log(row.id).line(f"[mlmgmt] autoscaler: {row.scale} -> {after.replicas} replicas")
            self.wake()

    def _others(self, row: Row[Any]) -> list[tuple[ServiceCreate, int]]:
        """Return the specs of the other services on a service's compute, each with its desired number of replicas."""
        counted = (
            (other.serving_spec, replica_count(other.serving_spec, other.scale))
            for other in self._all.values()
            if other.compute_id == row.compute_id and other.id != row.id and not other.deleting
        )
        return [(spec, count) for spec, count in counted if count]

    def _renew_keys(self, row: Row[Any]) -> None:
        """Send keys that have changed since the last round, also to replicas that are starting."""
        digests = _digests(row)
        if self._keys.setdefault(row.id, digests) != digests:
            self.computes[row.compute_id].set_keys(row.id, digests, timeout=0)
            self._keys[row.id] = digests

    def _begin(self, row: Row[Any]) -> None:
        """Record that the work on a service has begun."""
        if row.target_id is None or row.state != "NotStarted":
            return
        operations, services = schema.operations, schema.services
        with self._store.writing() as db:
            begun = db.execute(
                update(services)
                .where(services.c.id == row.id, services.c.target_id == row.target_id)
                .values(state="Running")
            )
            if begun.rowcount == 0:  # cancelled or deleted since it was read
                return
            db.execute(
                update(operations)
                .where(operations.c.resource_id == row.id, operations.c.end_time.is_(None))
                .values(state="Running")
            )
        self.wake()

    def _log_rollouts(self, desired: Sequence[r.Desired], replicas: Sequence[Replica]) -> None:
        """Log in a service's log how many replicas of a rollout are ready, whenever the number changes."""
        for service in desired:
            if service.target is None or not service.target_replicas:
                self._told.pop(service.service_id, None)
                continue
            ready = sum(
                replica.deployment_id == service.target and replica.state is ReplicaState.READY for replica in replicas
            )
            told = (service.target, ready)
            if self._told.get(service.service_id) != told:
                self._told[service.service_id] = told
                self._log(service.service_id).line(f"[mlmgmt] replicas ready {ready}/{service.target_replicas}")

    # --- acting --------------------------------------------------------------------------------------------------

    def _act(self, action: r.Action, row: Row[Any] | None) -> None:
        match action:
            case r.Kill():
                self.computes.kill(action.replica_id, hung=action.hung)
            case r.Drain():
                self.computes.drain(action.replica_id, self._settings.drain_timeout)
            case r.Open() if row is not None:
                self._open(row)
            case r.Start() if row is not None:
                self._start(row, action.deployment_id)
            case r.Refuse() if row is not None:
                self.computes[row.compute_id].refuse(action.service_id, action.message)
            case r.Succeed() if row is not None:
                self._succeed(row)
            case r.Fail() if row is not None:
                self._fail(row, action.code, action.message)
            case r.Close():
                self._forget(action.service_id)

    def _open(self, row: Row[Any]) -> None:
        try:
            port = self.computes[row.compute_id].open(row.id, row.port)
        except OSError as error:
            self._report_missing_port(row, error)
            return
        self._portless.pop(row.id, None)
        self._set(row.id, port=port)

    def _report_missing_port(self, row: Row[Any], error: OSError) -> None:
        """Record that a service has no port. Opening it is retried indefinitely; a rollout fails sooner."""
        which = "A port" if row.port is None else f"Port {row.port}"
        message = f"{which} of the service is not available: {error}."
        since = self._portless.setdefault(row.id, self._clock())
        if row.target_id is not None and (row.port is None or self._clock() - since >= _PORT_SECONDS):
            self._fail(row, "NoPort", message)
            return
        said = with_condition(row.error, "PortTaken", f"{message} Retrying.")
        if row.error != said and (row.error is None or row.error.code != "NoPort"):
            self._set(row.id, error=said)

    def _start(self, row: Row[Any], deployment_id: str) -> None:
        launch = self._launch(row, deployment_id)
        try:
            self.computes[row.compute_id].start(launch)
        except OSError as error:
            # Its files may be missing, or the machine may be out of processes. The other services continue.
            message = f"A replica cannot be started: {error}"
            launch.log.line(f"[mlmgmt] {message}")
            failed = Exit(
                service_id=row.id, deployment_id=deployment_id, code="StartFailed", message=message, permanent=False
            )
            self._note_crash(failed, {row.id: row}, self._clock())
            self._wake.set()

    def _launch(self, row: Row[Any], deployment_id: str) -> Launch:
        is_target = deployment_id == row.target_id
        spec: ServiceCreate = row.target_spec if is_target else row.serving_spec
        images = schema.images
        with self._store.reading() as db:
            image = db.execute(select(images).where(images.c.id == spec.image_id)).one()
        context = self._home.images / image.id
        return Launch(
            service_id=row.id,
            deployment_id=deployment_id,
            name=row.name,
            context=context,
            interpreter=image.interpreter,
            key_digests=_digests(row),
            environment=_environment(spec, image.version, self._settings.data_storage),
            secrets=(row.target_secrets if is_target else row.serving_secrets) or {},
            data=self._home.data,
            slots=slots(spec),
            allowed_hosts=self._settings.answered_hosts,
            cpus=cpus(spec),
            memory_bytes=memory_bytes(spec),
            log=self._log(row.id),
        )

    def _succeed(self, row: Row[Any]) -> None:
        with self._store.writing() as db:
            if not rollout_succeeded(db, row.id, row.target_id, row.deployment_id):
                return
        self._crashes.pop(row.target_id, None)
        self._log(row.id).line("[mlmgmt] deployed")
        self.wake()

    def _fail(self, row: Row[Any], code: str, message: str) -> None:
        with self._store.writing() as db:
            if not rollout_failed(db, row.id, row.target_id, "Failed", ErrorResponse(code=code, message=message)):
                return
        self._crashes.pop(row.target_id, None)
        self._log(row.id).line(f"[mlmgmt] the deployment failed: {message}")
        self.wake()

    def _forget(self, service_id: str) -> None:
        services = schema.services
        self.computes.close(service_id)
        with self._store.writing() as db:
            db.execute(delete(services).where(services.c.id == service_id, services.c.deleting))
        self.wake()
        self._logs.pop(service_id, None)
        self._keys.pop(service_id, None)
        self._portless.pop(service_id, None)
        service_log(self._home, service_id).remove()

    def _report(self, rows: dict[str, Row[Any]], moment: float) -> None:
        """Record in the service's `error` that its replicas keep dying, and clear that when they recover."""
        for row in rows.values():
            if row.target_id is not None or row.serving_status != "Active":
                continue
            died = self._crashes.get(row.deployment_id)
            error = row.error
            if died is not None and died.count > 1 and moment - died.last < r.STEADY_SECONDS:
                message = f"Replicas keep ending ({died.count} in a row); the last: {died.message}"
                error = with_condition(row.error, "CrashLoop", message)
            elif self.computes[row.compute_id].is_open(row.id):
                error = without_condition(row.error)
            if row.error != error:
                self._set(row.id, error=error)

    def _set(self, service_id: str, **values: Any) -> None:
        services = schema.services
        with self._store.writing() as db:
            db.execute(update(services).where(services.c.id == service_id).values(**values))
        self.wake()

    def _log(self, service_id: str) -> Log:
        return self._logs.setdefault(service_id, service_log(self._home, service_id))


def _digests(row: Row[Any]) -> list[str]:
    return [hashlib.sha256(key.encode()).hexdigest() for key in (row.primary_key, row.secondary_key)]


def _environment(spec: ServiceCreate, version: int, data_storage: str | None) -> dict[str, str]:
    """Return the environment variables of a replica: those of the service, and those that drivers of 2017 use."""
    collects = bool(spec.data_collection and spec.data_collection.storage_enabled)
    known = {
        "SERVICE_NAME": spec.name,
        "SERVICE_PATH_PREFIX": f"/api/v1/service/{spec.name}",
        "SERVICE_VERSION": str(version),
        "AML_APP_INSIGHTS_ENABLED": str(bool(spec.app_insights_enabled)).lower(),
        "AML_MODEL_DC_STORAGE_ENABLED": str(collects).lower(),
    }
    if data_storage is not None:
        known["AML_MODEL_DC_STORAGE"] = data_storage
    reserved = cpus(spec)
    # Numeric libraries use all cores by default: limit a replica with a reservation to its share.
    threads = {"OMP_NUM_THREADS": str(max(1, round(reserved)))} if reserved is not None else {}
    chosen = {name: value for name, value in (spec.environment or {}).items() if value is not None}
    return threads | chosen | known
