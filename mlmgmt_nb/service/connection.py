"""A connection to the API: uvicorn's, which ends when its client does not get on with sending a request."""

from __future__ import annotations

from mlmgmt_nb.scoring.protocol import HttpProtocol

__all__ = ["ApiConnection"]

_HEAD_SECONDS = 10.0
"""How long the head of a request may take."""
_SILENT_SECONDS = 75.0
"""How long a new connection may say nothing: clients open some in advance."""


class ApiConnection(HttpProtocol):
    """A connection. `check` is to be called about once a second; requests pay nothing for it."""

    _seen: object = None
    _since = 0.0

    def check(self, now: float) -> None:
        """Closes it when its client has taken too long. `now` is in seconds, of a clock that only goes forward."""
        in_head = self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)
        waits_for = self.scope if in_head else "a request" if self.cycle is None else None
        if waits_for is not self._seen:
            self._seen, self._since = waits_for, now
        elif waits_for is not None and now - self._since > (_HEAD_SECONDS if in_head else _SILENT_SECONDS):
            self.transport.close()
