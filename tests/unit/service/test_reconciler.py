"""The reconciler's pure step, by example and by simulation."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.reconciling.replicas.actions import (
    Action,
    Adopt,
    Close,
    Drain,
    Fail,
    Kill,
    Open,
    Refuse,
    Release,
    Route,
    Show,
    Start,
    Succeed,
)
from mlmgmt_nb.service.reconciling.replicas.desired import Crashes, Desired
from mlmgmt_nb.service.reconciling.replicas.reconciler import (
    LINGER_SECONDS,
    STARTING_AT_ONCE,
    backoff,
    is_settled,
    step,
)

STARTING, READY, DRAINING = ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DRAINING


def replica(number: int, deployment: str, state: ReplicaState = READY, since: float = 0.0, busy: int = 0) -> Replica:
    return Replica(id=str(number), service_id="s", deployment_id=deployment, state=state, since=since, busy=busy)


def crashes(count: int, last: float = 0.0, *, permanent: bool = False) -> dict[str, Crashes]:
    return {"new": Crashes(count=count, last=last, code="C", message="why", permanent=permanent)}


def candidate(number: int, state: ReplicaState = READY, *, can_move: bool = True) -> Replica:
    """Return a replica of a candidate of `s`."""
    found = replica(number, "proposed", state)
    return msgspec.structs.replace(found, service_id="c", can_move=can_move)


def test_a_promoted_candidate_hands_its_replicas_over() -> None:
    service = Desired(service_id="s", serving="old", target="new", replicas=1, target_replicas=2, adopts="proposed")
    promoted = Desired(service_id="c", serving="proposed", replicas=2, deleting=True, is_promoted=True)
    living = [replica(1, "old"), candidate(2), candidate(3)]
    assert step([service, promoted], living, {}, 0) == [Adopt("s", "new", "2"), Adopt("s", "new", "3")]
    # Old ones are retired once these accept the connections of the service.
    living = [replica(1, "old"), replica(2, "new", STARTING), replica(3, "new", STARTING)]
    assert step([service, promoted], living, {}, 0) == []
    living = [replica(1, "old"), replica(2, "new"), replica(3, "new")]
    assert step([service, promoted], living, {}, 0) == [Drain("s", "1")]


def test_a_candidate_is_left_alone_until_its_promotion_ends() -> None:
    service = Desired(service_id="s", serving="new", replicas=1)
    ended = Desired(service_id="c", serving="proposed", replicas=2, deleting=True)
    assert step([service, ended], [replica(1, "new"), candidate(2)], {}, 0) == [Drain("c", "2")]
    assert step([service, ended], [replica(1, "new")], {}, 0) == [Close("c")]


def test_replicas_that_cannot_be_taken_over_are_replaced() -> None:
    """Their image is of an earlier version, or they died: the target starts replicas of its own."""
    service = Desired(service_id="s", serving="old", target="new", replicas=1, target_replicas=2, adopts="proposed")
    promoted = Desired(service_id="c", serving="proposed", replicas=2, deleting=True, is_promoted=True)
    living = [replica(1, "old"), candidate(2, can_move=False), candidate(3, STARTING)]
    assert step([service, promoted], living, {}, 0) == [Start("s", "new")] * 2
    living = [replica(1, "old"), candidate(2)]
    assert step([service, promoted], living, {}, 0) == [Adopt("s", "new", "2"), Start("s", "new")]


def test_a_router_takes_the_place_of_the_replicas_and_gives_it_back() -> None:
    """Somebody accepts the connections at any time."""
    open_, closed = (
        msgspec.structs.replace(replica(1, "old"), can_move=True, is_open=is_open) for is_open in (True, False)
    )
    divided = Desired(service_id="s", serving="old", replicas=1, is_split=True)
    assert step([divided], [open_], {}, 0) == [Route("s")]
    routed = msgspec.structs.replace(divided, is_routed=True)
    assert step([routed], [open_], {}, 0) == [Show("s", "1", at_service=False)]
    assert step([routed], [closed], {}, 0) == []
    ended = msgspec.structs.replace(routed, is_split=False)
    assert step([ended], [closed], {}, 0) == [Show("s", "1", at_service=True)]
    assert step([ended], [open_], {}, 0) == [Release("s")]
    assert step([msgspec.structs.replace(ended, is_routed=False)], [open_], {}, 0) == []


def test_a_promotion_goes_from_the_router_to_the_new_replicas() -> None:
    old = msgspec.structs.replace(replica(1, "old"), can_move=True, is_open=False)
    new = msgspec.structs.replace(replica(2, "new"), can_move=True)
    service = Desired(
        service_id="s", serving="old", target="new", replicas=1, target_replicas=1, adopts="proposed", is_routed=True
    )
    promoted = Desired(service_id="c", serving="proposed", replicas=1, deleting=True, is_promoted=True)
    assert step([service, promoted], [old, candidate(2)], {}, 0) == [Adopt("s", "new", "2")]
    starting = msgspec.structs.replace(new, state=STARTING)
    assert step([service, promoted], [old, starting], {}, 0) == []
    assert step([service, promoted], [old, new], {}, 0) == [Release("s"), Drain("s", "1")]


def test_a_new_service_gets_its_socket_before_its_replicas() -> None:
    desired = Desired(service_id="s", target="new", target_replicas=2, is_open=False)
    assert step([desired], [], {}, 0) == [Open("s")]
    opened = msgspec.structs.replace(desired, is_open=True)
    assert step([opened], [], {}, 0) == [Start("s", "new"), Start("s", "new")]


def test_not_too_many_start_at_once() -> None:
    desired = Desired(service_id="s", target="new", target_replicas=100)
    first = step([desired], [], {}, 0)
    assert first == [Start("s", "new")] * STARTING_AT_ONCE
    starting = [replica(number, "new", STARTING) for number in range(STARTING_AT_ONCE - 1)]
    assert step([desired], starting, {}, 0) == [Start("s", "new")]


def test_it_succeeds_when_all_are_ready() -> None:
    desired = Desired(service_id="s", target="new", target_replicas=2)
    assert step([desired], [replica(1, "new"), replica(2, "new", STARTING)], {}, 0) == []
    assert step([desired], [replica(1, "new"), replica(2, "new")], {}, 0) == [Succeed("s")]


def test_it_waits_for_those_it_retired_but_not_for_ever() -> None:
    desired = Desired(service_id="s", serving="old", target="new", target_replicas=1)
    living = [replica(1, "old", DRAINING, since=10), replica(2, "new")]
    assert step([desired], living, {}, 10.5) == []
    assert step([desired], living, {}, 10 + LINGER_SECONDS) == [Succeed("s")]


def test_a_replica_that_does_not_react_any_more_is_ended_and_replaced() -> None:
    desired = Desired(service_id="s", serving="old", replicas=1, hang_timeout=60)
    silent = msgspec.structs.replace(replica(1, "old"), silence=61)
    assert step([desired], [msgspec.structs.replace(silent, silence=59)], {}, 100) == []
    assert step([desired], [silent], {}, 100) == [Kill("s", "1", hung=True), Start("s", "old")]


def test_zero_replicas_are_ready_immediately() -> None:
    assert step([Desired(service_id="s", target="new", target_replicas=0)], [], {}, 0) == [Succeed("s")]


def test_a_driver_that_does_not_load_is_given_up_at_once_and_another_death_after_some() -> None:
    desired = Desired(service_id="s", target="new", target_replicas=1)
    assert step([desired], [], crashes(1, permanent=True), 0) == [Fail("s", "C", "why")]
    assert step([desired], [], crashes(2, last=0.0), 100) == [Start("s", "new")]
    assert step([desired], [], crashes(3), 100) == [Fail("s", "C", "why")]


def test_a_replica_that_keeps_dying_is_restarted_with_back_off() -> None:
    desired = Desired(service_id="s", serving="new", replicas=1)
    early = step([desired], [], crashes(5, last=10.0), 10 + backoff(5) - 0.1)
    assert [type(action) for action in early] == [Refuse]
    assert step([desired], [], crashes(5, last=10.0), 10 + backoff(5)) == [Start("s", "new")]
    assert [backoff(n) for n in (0, 1, 2, 3, 4, 20, 10_000)] == [0, 0, 1, 2, 4, 60, 60]


def test_a_replica_that_does_not_start_in_time_is_killed_as_hung() -> None:
    desired = Desired(service_id="s", target="new", target_replicas=1, start_timeout=5)
    assert step([desired], [replica(1, "new", STARTING, since=0)], {}, 6)[0] == Kill("s", "1", hung=True)


def test_a_replica_that_does_not_drain_in_time_is_killed() -> None:
    desired = Desired(service_id="s", serving="old", replicas=0, drain_timeout=5)
    refusal = Refuse("s", "This service is scaled to zero replicas.")
    assert step([desired], [replica(1, "old", DRAINING)], {}, 5.5) == [refusal]
    assert step([desired], [replica(1, "old", DRAINING)], {}, 7) == [Kill("s", "1"), refusal]


def test_who_asks_a_service_without_replicas_is_told_so_unless_it_only_sleeps() -> None:
    none_wanted = Desired(service_id="s", serving="old", replicas=0)
    assert [type(action) for action in step([none_wanted], [], {}, 0)] == [Refuse]
    assert step([msgspec.structs.replace(none_wanted, sleeps=True)], [], {}, 0) == []
    failed = Desired(service_id="s")
    assert [type(action) for action in step([failed], [], {}, 0)] == [Refuse]
    assert step([msgspec.structs.replace(failed, is_open=False)], [], {}, 0) == []


def test_fewer_replicas_take_the_idle_ones_away() -> None:
    desired = Desired(service_id="s", serving="old", replicas=1)
    living = [replica(1, "old", busy=3), replica(2, "old", busy=0), replica(3, "old", STARTING)]
    assert step([desired], living, {}, 0) == [Drain("s", "3"), Drain("s", "2")]


def test_a_failed_rollout_leaves_what_served() -> None:
    during = Desired(service_id="s", serving="old", replicas=1, target="new", target_replicas=1)
    living = [replica(1, "old"), replica(2, "new", STARTING)]
    assert step([during], living, crashes(1, permanent=True), 0) == [Fail("s", "C", "why")]
    after = Desired(service_id="s", serving="old", replicas=1)
    assert step([after], living, {}, 0) == [Drain("s", "2")]


def test_what_serves_is_kept_up_while_its_successor_loads() -> None:
    during = Desired(service_id="s", serving="old", replicas=1, target="new", target_replicas=1)
    assert step([during], [replica(2, "new", STARTING)], {}, 0) == [Start("s", "old")]


def test_a_deleted_service_is_drained_then_closed() -> None:
    desired = Desired(service_id="s", serving="old", replicas=2, deleting=True)
    assert step([desired], [replica(1, "old"), replica(2, "old", DRAINING)], {}, 0) == [Drain("s", "1")]
    assert step([desired], [replica(2, "old", DRAINING)], {}, 0) == []
    assert step([desired], [], {}, 0) == [Close("s")]


def test_replicas_of_nobody_are_killed() -> None:
    assert step([], [replica(1, "old")], {}, 0) == [Kill("s", "1")]


class World:
    """One service, its replicas and time; actions are carried out as a compute would do it."""

    def __init__(self, serving: int, target: int) -> None:
        self.numbers = itertools.count(1)
        self.now = 0.0
        self.desired = Desired(
            service_id="s", serving="old", replicas=serving, target="new", target_replicas=target, is_open=True
        )
        self.replicas = [replica(next(self.numbers), "old") for _ in range(serving)]
        self.crashes: dict[str, Crashes] = {}
        self.succeeded = self.failed = False

    def round(self) -> list[Action]:
        self.now += 0.1
        actions = step([self.desired], self.replicas, self.crashes, self.now)
        for action in actions:
            self._do(action)
        return actions

    def _do(self, action: Action) -> None:
        match action:
            case Start(deployment_id=deployment):
                self.replicas.append(replica(next(self.numbers), deployment, STARTING, self.now))
            case Drain(replica_id=drained):
                self._enter(drained, DRAINING)
            case Kill(replica_id=killed):
                self.replicas = [r for r in self.replicas if r.id != killed]
            case Succeed():
                self.succeeded = True
                count = self.desired.target_replicas
                self.desired = Desired(service_id="s", serving="new", replicas=count)
            case Fail():
                self.failed = True
                self.desired = Desired(service_id="s", serving="old", replicas=self.desired.replicas)

    def _enter(self, replica_id: str, state: ReplicaState) -> None:
        self.replicas = [
            msgspec.structs.replace(r, state=state, since=self.now) if r.id == replica_id else r for r in self.replicas
        ]

    def happen(self, event: str, which: int) -> None:
        """Let an event happen to one of the replicas."""
        fitting = {"ready": STARTING, "crash": STARTING, "die": READY, "gone": DRAINING}[event]
        candidates = [r for r in self.replicas if r.state is fitting]
        if not candidates:
            return
        chosen = candidates[which % len(candidates)]
        if event == "ready":
            self._enter(chosen.id, READY)
            return
        self.replicas = [r for r in self.replicas if r.id != chosen.id]
        if event != "gone":
            count = self.crashes[chosen.deployment_id].count if chosen.deployment_id in self.crashes else 0
            self.crashes[chosen.deployment_id] = Crashes(count=count + 1, last=self.now, code="C", message="m")

    def ready(self) -> int:
        return sum(r.state is READY for r in self.replicas)

    def settle(self) -> None:
        """Let every starting replica become ready and every draining replica end, until nothing changes."""
        for _ in range(100):
            self.now += 61
            self.round()
            for r in list(self.replicas):
                self.happen("ready", 0) if r.state is STARTING else self.happen("gone", 0)


counts = st.integers(0, 5)
events = st.lists(
    st.tuples(st.sampled_from(["ready", "gone", "crash", "die", "nothing"]), st.integers(0, 9)), max_size=40
)


@given(serving=counts, target=counts)
def test_a_rollout_without_trouble_never_serves_with_less(serving: int, target: int) -> None:
    world = World(serving, target)
    for _ in range(60):
        before = world.ready()
        world.round()
        # Retiring never goes below the number that both deployments have in common.
        assert world.ready() >= min(before, serving, target)
        live = [r for r in world.replicas if r.state is not DRAINING]
        assert len(live) <= max(serving, target) + 1
        world.happen("ready", 0)
        world.happen("gone", 0)
    assert world.succeeded
    assert Counter((r.deployment_id, r.state) for r in world.replicas) == Counter(
        {("new", READY): target} if target else {}
    )


@settings(max_examples=300)
@given(serving=counts, target=counts, history=events)
def test_any_history_converges_on_the_desired_state(serving: int, target: int, history: list[tuple[str, int]]) -> None:
    world = World(serving, target)
    for event, which in history:
        actions = world.round()
        assert len({a.replica_id for a in actions if isinstance(a, Drain | Kill)}) == sum(
            isinstance(a, Drain | Kill) for a in actions
        )
        if event != "nothing":
            world.happen(event, which)
    world.settle()
    assert world.succeeded or world.failed
    kept = "old" if world.failed else "new"
    wanted = serving if world.failed else target
    assert [(r.deployment_id, r.state) for r in world.replicas] == [(kept, READY)] * wanted


@given(
    st.builds(
        Desired,
        service_id=st.just("s"),
        serving=st.sampled_from([None, "old"]),
        target=st.sampled_from([None, "new"]),
        replicas=st.integers(0, 2),
        target_replicas=st.integers(0, 2),
        is_open=st.booleans(),
        sleeps=st.booleans(),
        deleting=st.booleans(),
    ),
    st.one_of(st.none(), st.integers(1, 9)),
    st.floats(0, 200),
    st.lists(st.floats(0, 10_000), max_size=5),
)
def test_time_changes_nothing_for_a_settled_service(
    desired: Desired, count: int | None, now: float, later: list[float]
) -> None:
    died = {} if count is None else {"old": Crashes(count=count, last=0.0, code="C", message="why")}
    if is_settled(desired, died, now):
        for seconds in [0.0, *later]:
            assert all(isinstance(action, Refuse) for action in step([desired], [], died, now + seconds))
