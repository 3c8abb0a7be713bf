"""The answers of one of the two deployments between which requests are split."""

from __future__ import annotations

from mlmgmt_nb.scoring.histogram import Histogram

__all__ = ["Side"]


class Side:
    """The answers of one of the two deployments: their number, those that failed, and their latencies.

    Answers to callers without a key of the service are not counted, because they do not depend on the deployment.

    Attributes:
        requests: number of complete requests.
        errors: number of those that failed.
        refused: number of those that the deployment refused, such as for a wrong input.
        abandoned: number of those whose callers disconnected before the answer began.
        latencies: seconds until the answers, or until the callers disconnected.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.refused = 0
        self.abandoned = 0
        self.latencies = Histogram()

    def add(self, status: int | None, seconds: float) -> None:
        """Add an answer; a status of 500 or above is an error, and None means that the caller did not wait for one."""
        if status == 401:
            return
        self.requests += 1
        self.errors += status is not None and status >= 500
        self.refused += status is not None and 400 <= status < 500
        self.abandoned += status is None
        self.latencies.add(seconds)
