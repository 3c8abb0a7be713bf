"""Buffer for results until the next batch: each distinct outcome once, latencies as arrays of machine values."""

from __future__ import annotations

from array import array

from mlmgmt_nb.load_generator.caller import Response
from mlmgmt_nb.load_generator.messages import Batch, Outcome

__all__ = ["Results"]

_REMEMBERED_BYTES = 32 * 2**20


class Results:
    """Collect results until they are sent."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, bytes, int, bytes], int] = {}
        self._known_bytes = 0
        self._places = 0
        self._clear()

    def _clear(self) -> None:
        self._at, self._seconds, self._other_seconds = array("d"), array("d"), array("d")
        self._outcomes = array("q")
        self._ids: list[str] = []
        self._new: list[Outcome] = []

    def add(self, case: int, at: float, answer: Response, other: Response | None) -> None:
        self._at.append(at)
        self._seconds.append(answer.seconds)
        self._ids.append(answer.id)
        if other is None:
            key = (case, answer.status, answer.content, -1, b"")
        else:
            key = (case, answer.status, answer.content, other.status, other.content)
            self._other_seconds.append(other.seconds)
        place = self._known.get(key)
        self._outcomes.append(self._remember(key) if place is None else place)

    def _remember(self, key: tuple[int, int, bytes, int, bytes]) -> int:
        if self._known_bytes > _REMEMBERED_BYTES:
            self._known.clear()
            self._known_bytes = 0
        place = self._known[key] = self._places
        self._places += 1
        self._known_bytes += 200 + len(key[2]) + len(key[4])
        self._new.append(Outcome(*key))
        return place

    def taken(self, cpu: float, clock: float, late: float, *, ended: bool) -> Batch:
        """Return the results so far, and clear the buffer."""
        batch = Batch(
            self._at.tobytes(),
            self._seconds.tobytes(),
            self._outcomes.tobytes(),
            "\n".join(self._ids),
            self._other_seconds.tobytes(),
            self._new,
            cpu,
            clock,
            late,
            ended,
        )
        self._clear()
        return batch
