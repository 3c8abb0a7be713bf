"""All computes of a service behind one interface, for one supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from mlmgmt_nb.service.compute.base import Compute, Exit
from mlmgmt_nb.service.compute.observed import Replica
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.system.concurrency import run_concurrently

__all__ = ["Computes"]


class Computes:
    """The computes, by id. A service stays on the compute that it was created for."""

    def __init__(self, computes: Mapping[str, Compute]) -> None:
        self._computes = dict(computes)

    def __contains__(self, compute_id: str) -> bool:
        return compute_id in self._computes

    def __getitem__(self, compute_id: str) -> Compute:
        return self._computes[compute_id]

    @property
    def by_id(self) -> Mapping[str, Compute]:
        return self._computes

    @property
    def ids(self) -> list[str]:
        return list(self._computes)

    def replicas(self) -> list[Replica]:
        return [replica for compute in self._computes.values() for replica in compute.replicas()]

    def exits(self) -> list[Exit]:
        return [ended for compute in self._computes.values() for ended in compute.exits()]

    def connected(self) -> set[str]:
        return set().union(*(compute.connected() for compute in self._computes.values()))

    def adopt(self, replica_id: str, service_id: str, deployment_id: str, log: Log) -> None:
        for compute in self._computes.values():
            compute.adopt(replica_id, service_id, deployment_id, log)

    def show(self, replica_id: str, *, at_service: bool) -> None:
        for compute in self._computes.values():
            compute.show(replica_id, at_service=at_service)

    def keep(self, replica_id: str) -> None:
        for compute in self._computes.values():
            compute.keep(replica_id)

    def drain(self, replica_id: str, seconds: float) -> None:
        # Ids of replicas are unique over all computes; the other computes ignore an unknown id.
        for compute in self._computes.values():
            compute.drain(replica_id, seconds)

    def kill(self, replica_id: str, *, hung: bool) -> None:
        for compute in self._computes.values():
            compute.kill(replica_id, hung=hung)

    def close(self, service_id: str) -> None:
        for compute in self._computes.values():
            compute.close(service_id)

    def stop(self, seconds: float) -> None:
        """End everything on all computes concurrently.

        Raises:
            Exception: a compute failed, after the others have ended.
        """
        run_concurrently([partial(compute.stop, seconds) for compute in self._computes.values()])
