"""Sustained scoring through two rolling updates and a new key: `python -m tests.faults.load --minutes 5`.

Callers score at the service's own port and at the front door, on new connections and on kept ones. None may fail.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import quantiles

from tests.benchmarks.table import show
from tests.faults.scene import DRIVER, Callers, Scene
from tests.integration.service.drivers import at_front_door

__all__ = ["sustained"]


def sustained(scene: Scene, seconds: float) -> tuple[Callers, dict[str, float]]:
    """Scores for so long; what callers were answered, and how many seconds each change took.

    The first quarter of the time is quiet, as are the times between the changes.
    """
    url, took = f"/services/{scene.steady['id']}", {}
    other = scene.api.image(scene.driver("other", DRIVER.format(says="other")))
    with scene.scoring() as callers:
        for name, image, says in (("first update", other, "other"), ("second update", scene.image, "steady")):
            _quiet(seconds / 4)
            began = time.monotonic()
            ended = scene.api.operation(scene.api.request("PUT", url, json={"imageId": image["id"]}), 120)
            took[name] = time.monotonic() - began
            assert ended["state"] == "Succeeded", ended
            assert scene.api.score(scene.steady, "1").json()["says"] == says
        _quiet(seconds / 4)
        old = scene.keys["primaryKey"]
        began = time.monotonic()
        scene.keys = scene.api.post(f"{url}/keys", {"keyType": "Primary"})
        for door in (scene.steady, at_front_door(scene.api, scene.steady)):
            # The request returns once it is done: waiting is not needed.
            assert scene.api.score(door, "1", old).status_code == 401
            assert scene.api.score(door, "1", scene.keys["primaryKey"]).status_code == 200
        took["new key"] = time.monotonic() - began
        _quiet(seconds / 4)
    return callers, took


def _quiet(seconds: float) -> None:
    """Let time pass while scoring continues."""
    time.sleep(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.load", description="Sustained scoring.")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (default: %(default)s)")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        try:
            callers, took = sustained(scene, minutes * 60)
            scene.is_well()
        finally:
            scene.close()
    cuts = quantiles(callers.seconds, n=1000)
    rows: list[list[object]] = [["requests", callers.right + len(callers.wrong)], ["failed", len(callers.wrong)]]
    rows += [[f"p{share / 10:g}, ms", cuts[share - 1] * 1000] for share in (500, 990, 999)]
    rows += [["longest, ms", max(callers.seconds) * 1000], *[[f"{name}, s", seconds] for name, seconds in took.items()]]
    show(f"{minutes:g} minutes of scoring through two rolling updates and a new key", ["what", "figure"], rows)
    if callers.wrong:
        raise SystemExit("\n".join(callers.wrong[:20]))


if __name__ == "__main__":
    main()
