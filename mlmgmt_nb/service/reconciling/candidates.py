"""Candidates over time: canaries, mirrors, and the removal of expired candidates."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Row

from mlmgmt_nb.comparison import same
from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.contract.traffic import Answers, AnswersOfBoth, Canary, Mirror, MirroredPair
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.files.mirrors import Mirrors, size_of
from mlmgmt_nb.service.gateway.mirror import Mirrored
from mlmgmt_nb.service.gateway.router import Router
from mlmgmt_nb.service.gateway.side import Side
from mlmgmt_nb.service.gateway.split import Split
from mlmgmt_nb.service.reconciling.canary import added, advance, extended
from mlmgmt_nb.service.reconciling.current_errors import is_own
from mlmgmt_nb.service.reconciling.recorder import ServiceRecorder
from mlmgmt_nb.service.reconciling.specs import replica_count, slots
from mlmgmt_nb.service.store.schema import Traffic
from mlmgmt_nb.service.store.store import Store
from mlmgmt_nb.service.store.transitions import delete_service, traffic_changed

__all__ = ["CandidateController", "split_of"]

log = logging.getLogger(__name__)

_MOST_BYTES = 100 * 10**6
_STOPPING_SECONDS = 0.1
"""Seconds until the next round while the last results of a mirror are awaited."""


_Part = TypeVar("_Part", Canary, Mirror)


class CandidateController:
    """Advances canaries or takes them back, stores the pairs of mirrors, and removes expired candidates.

    The controllers of their computes start and end the replicas.

    Args:
        mirrors: keeps the pairs of mirrors.
        on_change: called after each change of the store.
    """

    def __init__(
        self,
        store: Store,
        router: Router,
        recorder: ServiceRecorder,
        mirrors: Mirrors,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._router = router
        self._recorder = recorder
        self._mirrors = mirrors
        self._on_change = on_change
        self._unsaved: dict[str, tuple[dt.datetime | None, Mirrored]] = {}  # by candidate, with the start of the mirror

    def run(self, services: Mapping[str, Row[Any]]) -> float:
        """Run a round; return the seconds until the next one if nothing changes.

        Args:
            services: all services by id.
        """
        moment, pause = now(), 1.0
        for row in services.values():
            if row.candidate_of is None or row.deleting:
                continue
            try:
                if _is_expired(row, moment):
                    self._remove(row)
                elif row.traffic is not None and row.traffic.has_results:
                    self._look(row, row.traffic)
                    pause = pause if row.traffic.is_active else _STOPPING_SECONDS
            except Exception:  # other services must not wait for this one
                log.exception(
                    "cannot update the candidate of service %s; the next round tries it again", row.candidate_of
                )
        self._unsaved = {known: unsaved for known, unsaved in self._unsaved.items() if known in services}
        return pause

    def _look(self, row: Row[Any], traffic: Traffic) -> None:
        """Count the answers of a candidate since the last round, and update its canary and its mirror."""
        canary, mirror = traffic.canary, traffic.mirror
        pairs: Sequence[MirroredPair] = ()
        taken = Mirrored()
        if canary is not None and canary.is_active:
            canary = self._advanced(row, canary)
        if mirror is not None and mirror.has_results:
            taken = self._taken(row, mirror)
            mirror, pairs = _extended(mirror, taken)
        after = Traffic(canary=canary, mirror=mirror)
        if after == traffic:
            return
        is_saved = False
        try:
            is_saved = self._saved(row.id, traffic, after, pairs)
        except OSError as error:  # such as a full disk
            if mirror is None:
                raise
            after = Traffic(canary=canary, mirror=_broken(mirror, len(pairs), error))
            is_saved = self._saved(row.id, traffic, after, ())
        finally:
            if not is_saved and traffic.mirror is not None and taken.has_requests:
                # A request has stopped the mirror meanwhile, or the database is away: the next round adds them.
                self._unsaved[row.id] = (traffic.mirror.since, taken)
        if is_saved:
            self._log(row.candidate_of, traffic, after)
        self._on_change()

    def _taken(self, row: Row[Any], mirror: Mirror) -> Mirrored:
        """Return the results of a mirror since the last round."""
        taken = self._router.take_mirrored(row.candidate_of, mirror.since or "") or Mirrored(is_final=True)
        since, unsaved = self._unsaved.pop(row.id, (None, Mirrored()))
        return unsaved.plus(taken) if since == mirror.since else taken

    def _advanced(self, row: Row[Any], canary: Canary) -> Canary:
        counted = extended(canary, self._answers(row, canary))
        if is_own(row.error):
            return msgspec.structs.replace(counted, state="TakenBack", reason=row.error.message)
        return advance(counted, now())

    def _saved(self, candidate_id: str, before: Traffic, after: Traffic, pairs: Sequence[MirroredPair]) -> bool:
        """Store the traffic of a candidate and new pairs of its mirror. Return False if a request has changed it."""
        with self._store.writing() as db:
            is_changed = traffic_changed(db, candidate_id, before, after)
            if is_changed and pairs:
                # Write the pairs before their number is visible, and not to a mirror that was stopped or restarted.
                self._mirrors.append(candidate_id, pairs)
        return is_changed

    def _answers(self, row: Row[Any], canary: Canary) -> AnswersOfBoth:
        """Return the answers since the last round. Those of the candidate are compared with those of the current
        deployment to copies of the same requests, if the canary has a minimum for that.
        """
        old, new = self._router.take_counts(row.candidate_of) or (Side(), Side())
        taken = None if canary.min_agree is None else self._router.take_mirrored(row.candidate_of, row.id)
        pairs = [pair for pair in taken.pairs if _is_comparable(pair)] if taken else []
        same = sum(_is_same(pair, canary.tolerance) for pair in pairs)
        return AnswersOfBoth(old=_answers_of(old), new=_answers_of(new), compared=len(pairs), same=same)

    def _log(self, service_id: str, before: Traffic, after: Traffic) -> None:
        service_log = self._recorder.log(service_id)
        if before.canary is not None and after.canary is not None:
            _log_canary(service_log, before.canary, after.canary)
        if before.mirror is not None and after.mirror is not None:
            _log_mirror(service_log, before.mirror, after.mirror)

    def _remove(self, row: Row[Any]) -> None:
        with self._store.writing() as db:
            delete_service(db, row.id)
        self._recorder.log(row.candidate_of).line("[mlmgmt] the candidate was removed: its time is over")
        self._on_change()

    def push_keys(self, row: Row[Any]) -> None:
        """Send nothing: the replicas of a candidate belong to other controllers."""

    def stop(self) -> None:
        """Stop nothing, for the same reason."""


def _is_expired(row: Row[Any], moment: dt.datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= moment


def _log_canary(service_log: Log, before: Canary, after: Canary) -> None:
    if "TakenBack" == after.state != before.state:
        service_log.line(f"[mlmgmt] the canary was taken back: {after.reason}")
    elif after.step != before.step:
        service_log.line(f"[mlmgmt] canary: {after.share:g} % of the requests ({after.reason})")


def _log_mirror(service_log: Log, before: Mirror, after: Mirror) -> None:
    if before.has_results and not after.has_results:
        service_log.line(f"[mlmgmt] the mirror has ended: {after.reason} ({after.pairs:,} pairs of answers)")


def _answers_of(side: Side) -> Answers:
    counts = side.latencies.counts()
    return added(Answers(), side.requests, side.errors, counts, side.abandoned, side.refused)


def _extended(mirror: Mirror, taken: Mirrored) -> tuple[Mirror, Sequence[MirroredPair]]:
    """Return a mirror with further results, and its new pairs; end it at its limit of time, number or size."""
    pairs = taken.pairs[: mirror.requests - mirror.pairs]
    after = msgspec.structs.replace(
        mirror,
        pairs=mirror.pairs + len(pairs),
        dropped=mirror.dropped + taken.dropped,
        skipped=mirror.skipped + taken.skipped,
        bytes=mirror.bytes + sum(map(size_of, pairs)),
    )
    if mirror.state == "Stopping":
        return (msgspec.structs.replace(after, state="Stopped") if taken.is_final else after), pairs
    reason = _end_of(after)
    ended = after if reason is None else msgspec.structs.replace(after, state="Ended", reason=reason)
    return ended, pairs


def _is_comparable(pair: MirroredPair) -> bool:
    """Return whether a pair of a canary says something about the answers: one side has answered, and the other has too
    or has refused the request. Failures and overload say something else.
    """
    statuses = (pair.status, pair.old_status)
    return HTTPStatus.OK in statuses and all(_is_decision(status) for status in statuses)


def _is_decision(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS


def _is_same(pair: MirroredPair, tolerance: float) -> bool:
    if pair.status != pair.old_status:
        return False
    if pair.answer == pair.old_answer:
        return True
    try:
        old, new = (msgspec.json.decode(answer) for answer in (pair.old_answer, pair.answer))
        return same(old, new, tolerance)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _broken(mirror: Mirror, lost: int, error: OSError) -> Mirror:
    """Return the end of a mirror whose newest pairs could not be kept."""
    return msgspec.structs.replace(
        mirror,
        state="Ended",
        pairs=mirror.pairs - lost,
        skipped=mirror.skipped + lost,
        reason=f"its answers could not be kept: {error.strerror or error}",
    )


def _end_of(mirror: Mirror) -> str | None:
    """Return the reason for which a mirror ends now, or None."""
    if mirror.pairs >= mirror.requests:
        return f"{mirror.requests:,} requests were copied"
    if mirror.bytes >= _MOST_BYTES:
        return f"the answers have more than {_MOST_BYTES // 10**6} MB"
    is_over = now() - (mirror.since or now()) >= dt.timedelta(minutes=mirror.minutes)
    return f"{mirror.minutes:g} minutes are over" if is_over else None


def split_of(service: Row[Any], candidate: Row[Any], old_port: int, new_port: int) -> Split:
    """Return the split of the requests of a service.

    Args:
        candidate: its candidate, which has a canary or a mirror.
        old_port, new_port: ports of the current deployment and of the candidate.
    """
    canary = candidate.traffic.canary
    sharing, mirror = _if_active(canary), _if_active(candidate.traffic.mirror)
    return Split(
        old_port,
        new_port,
        sharing.share / 100 if sharing else 0.0,
        canary.header.lower() if canary and canary.header else None,
        mirrored=mirror.share / 100 if mirror else 0.0,
        mirror_since=mirror.since if mirror else None,
        compares=sharing is not None and sharing.min_agree is not None,
        redact=_redacted_fields(service.serving_spec),
        places=_places_of(service),
        candidate=candidate.id,
    )


def _if_active(part: _Part | None) -> _Part | None:
    return part if part is not None and part.is_active else None


def _places_of(service: Row[Any]) -> int:
    """Return the number of requests that the current replicas of a service accept at a time."""
    spec = service.serving_spec or service.spec
    return slots(spec) * max(1, replica_count(spec, service.scale))


def _redacted_fields(spec: ServiceCreate | None) -> tuple[str, ...]:
    recording = spec.recording if spec else None
    return tuple(recording.redact or ()) if recording else ()
