"""The means of an orchestrator, such as Kubernetes, that starts replicas without a control channel."""

from __future__ import annotations

from typing import NamedTuple

from mlmgmt_nb.scoring.process.keys_file import KeysFile

__all__ = ["NO_ORCHESTRATION", "Orchestration"]


class Orchestration(NamedTuple):
    """How an orchestrator controls and observes a replica.

    Attributes:
        keys_file: the file with the current keys.
        failure_file: receives the reason if the driver does not load.
        stats_port: port at which the replica serves its counters, at the address of its listener.
    """

    keys_file: KeysFile | None = None
    failure_file: str | None = None
    stats_port: int | None = None


NO_ORCHESTRATION = Orchestration()
