"""Faults of the time of day: it jumps, as when a laptop wakes up or an administrator sets it."""

from __future__ import annotations

import random

from tests.faults.scene import Scene, random_moment
from tests.support.clock import Clock

__all__ = ["jump_clock"]

_JUMPS = 3
_MOST_HOURS = 48
_PATIENCE = ("--hang-timeout", "60")
"""libfaketime slows a process down: on a busy machine a replica was silent for more than 4 s, also without a jump."""


def jump_clock(scene: Scene, moments: random.Random) -> None:
    """Jump the time of day forward and backward under load: every request is answered, no replica is replaced, and
    the newest model is listed first.
    """
    clock = Clock(scene.folder / "clock")
    scene.restart(clock.environment, *_PATIENCE)
    try:
        before = {process.pid for process in scene.ready_replicas()}
        with scene.working(), scene.scoring() as callers:
            for _ in range(_JUMPS):
                clock.jump(moments.randint(-_MOST_HOURS, _MOST_HOURS))
                random_moment(moments, 1.5)
        made = scene.client.register()
        assert clock.shows(made["createdAt"]), "the service does not use the clock of this fault"
        assert scene.api.get("/models", count="1")["value"] == [made]
        assert callers.wrong == [], callers.wrong
        assert {process.pid for process in scene.replicas()} == before
        scene.client.check()
    finally:
        clock.jump(0)
        scene.restart({})
