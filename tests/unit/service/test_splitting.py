"""The reconciler while requests are split, simulated: the connections of a service are accepted at any time."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from mlmgmt_nb.service.compute.observed import Replica, ReplicaState
from mlmgmt_nb.service.reconciling.replicas.actions import (
    Action,
    Adopt,
    Drain,
    Keep,
    Release,
    Route,
    Show,
    Start,
    Succeed,
)
from mlmgmt_nb.service.reconciling.replicas.desired import Desired
from mlmgmt_nb.service.reconciling.replicas.reconciler import step

STARTING, READY, DRAINING = ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DRAINING
KEPT = ReplicaState.KEPT
EVENTS = st.lists(
    st.sampled_from(
        ["ready", "accepted", "divide", "unite", "promote", "promote and keep", "roll back", "forget", "die", "scale"]
    ),
    min_size=5,
    max_size=60,
)


@given(EVENTS)
@settings(max_examples=300)
def test_somebody_accepts_the_connections_whatever_happens_to_a_change(events: list[str]) -> None:
    """A simulation: while a replica is ready, the router or a replica is at the socket of the service."""
    world = World()
    for event in events:
        world.happen(event)
        for _ in range(2):
            world.round()
            assert world.accepts() or not world.ready("s"), world
    world.happen("unite")
    for _ in range(20):
        world.happen("ready")
        world.round()
    assert not world.service.is_routed
    assert all(replica.is_open for replica in world.ready("s"))
    assert world.service.target is None
    kept = [replica for replica in world.replicas if replica.state is KEPT]
    assert {replica.deployment_id for replica in kept} <= {world.service.keeps}
    assert {one.deployment_id for one in world.replicas if one not in kept} <= {world.service.serving, "d0"}


class World:
    """A service with a candidate, on a compute that does what it is told."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.now = 0.0
        self.service = Desired(service_id="s", serving="old", replicas=1)
        self.candidate = Desired(service_id="c", serving="d0", replicas=1)
        self.replicas = [self._replica("s", "old"), self._replica("c", "d0")]

    def _replica(self, service: str, deployment: str, state: ReplicaState = READY) -> Replica:
        number = str(next(self.numbers))
        return Replica(
            id=number, service_id=service, deployment_id=deployment, state=state, since=self.now, can_move=True
        )

    def ready(self, service: str) -> list[Replica]:
        return [one for one in self.replicas if one.service_id == service and one.state is READY]

    def accepts(self) -> bool:
        # A drained replica leaves the socket; one that is taken over is about to accept there.
        arriving = any(one.service_id == "s" and one.state is STARTING for one in self.replicas)
        return self.service.is_routed or arriving or any(one.is_open for one in self.ready("s"))

    def happen(self, event: str) -> None:
        change = msgspec.structs.replace
        is_idle = self.service.target is None and not self.candidate.deleting
        match event:
            case "ready" | "accepted":
                self.replicas = [change(r, state=READY) if r.state is STARTING else r for r in self.replicas]
            case "divide" if is_idle and self.ready("c"):
                self.service = change(self.service, is_split=True)
            case "unite":
                self.service = change(self.service, is_split=False)
            case "promote" | "promote and keep" if is_idle:
                keeps = "old" if event == "promote and keep" else None
                self.service = change(
                    self.service, target="new", target_replicas=1, adopts="d0", keeps=keeps, is_split=False
                )
                self.candidate = change(self.candidate, deleting=True, is_promoted=True)
            case "roll back" if self.service.target is None and self.service.serving == "new":
                self.service = change(
                    self.service, target="again", target_replicas=1, adopts=self.service.keeps, keeps=None
                )
            case "forget":
                self.service = change(self.service, keeps=None)
            case "die" if self.replicas:
                self.replicas = self.replicas[1:]
            case "scale":
                self.service = change(self.service, replicas=3 - self.service.replicas)

    def round(self) -> None:
        self.now += 5
        gone = [r for r in self.replicas if r.state is DRAINING]
        self.replicas = [r for r in self.replicas if r not in gone]
        for action in step([self.service, self.candidate], self.replicas, {}, self.now):
            self.act(action)

    def act(self, action: Action) -> None:
        change = msgspec.structs.replace
        match action:
            case Start():
                self.replicas.append(self._replica(action.service_id, action.deployment_id, STARTING))
            case Adopt():
                moved = {"service_id": action.service_id, "deployment_id": action.deployment_id}
                self._change(action.replica_id, **moved, state=STARTING, is_open=True)
            case Show():
                self._change(action.replica_id, is_open=action.at_service)
            case Keep():
                self._change(action.replica_id, state=KEPT, since=self.now, is_open=False)
            case Drain():
                self._change(action.replica_id, state=DRAINING, since=self.now)
            case Route():
                self.service = change(self.service, is_routed=True)
            case Release():
                self.service = change(self.service, is_routed=False)
            case Succeed():
                self.service = change(self.service, serving=self.service.target, target=None, adopts=None)
                self.candidate = change(self.candidate, is_promoted=False)

    def _change(self, number: str, **values: Any) -> None:
        self.replicas = [msgspec.structs.replace(r, **values) if r.id == number else r for r in self.replicas]

    def __repr__(self) -> str:
        return f"{self.service} {self.replicas}"
