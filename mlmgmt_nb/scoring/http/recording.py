"""Responders that also record the requests for which the driver was called."""

from __future__ import annotations

from mlmgmt_nb.scoring.compat.messages import WholeRequest
from mlmgmt_nb.scoring.http.request import CALL, Request
from mlmgmt_nb.scoring.http.responses import Responder
from mlmgmt_nb.scoring.recording.recorder import Recorder

__all__ = ["RecordingResponder"]


class RecordingResponder(Responder):
    """A responder of a service whose requests are recorded.

    Attributes:
        recorder: receives them.
    """

    recorder: Recorder

    def log(self, request: Request, status: int, answer: bytes | int, code: str = "", message: str = "") -> None:
        super().log(request, status, answer, code, message)
        if request.taken and not request.copy:  # replays are not recorded again
            payload = request.scope[CALL].payload
            body = payload.data if isinstance(payload, WholeRequest) else payload
            self.recorder.add(
                request.id, request.began, status, body, None if isinstance(answer, int) else answer, code
            )
