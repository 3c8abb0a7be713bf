"""All faults by name: each breaks something at a random moment, and asserts the promise in its docstring."""

from __future__ import annotations

from tests.faults import clock, files, orphans, pressure, processes
from tests.faults.scene import Fault

__all__ = ["FAULTS"]

FAULTS: dict[str, Fault] = {
    name: getattr(room, name) for room in (processes, pressure, files, clock, orphans) for name in room.__all__
}
