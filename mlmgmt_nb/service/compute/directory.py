"""The computes by the ids and aliases in requests, and why a compute is not available."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, select

from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.compute.kubernetes.clusters import Clusters
from mlmgmt_nb.service.compute_ids import DOCKER, ChosenCompute, chosen_compute
from mlmgmt_nb.service.docker_engine import Engine, EngineError
from mlmgmt_nb.service.http.problems import conflict, not_found
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store

__all__ = ["ComputeDirectory"]


class ComputeDirectory:
    """The computes of this machine and the clusters.

    Args:
        store: the aliases of accounts.
        computes: those of this machine.
        clusters: the clusters of the settings.
        engine: the Docker engine.
        check_image_builder: raises EngineError if no image can be built for the engine.
    """

    def __init__(
        self,
        store: Store,
        computes: Computes,
        clusters: Clusters,
        engine: Engine,
        check_image_builder: Callable[[], None],
    ) -> None:
        self._store = store
        self._computes = computes
        self._clusters = clusters
        self._engine = engine
        self._check_image_builder = check_image_builder

    def choose(
        self, db: Connection, account: str, given: str | None, path: str, *, is_for_image: bool = False
    ) -> ChosenCompute:
        """Return the compute that a request names.

        Args:
            db: transaction to use.
            account: the account, whose aliases are used.
            given: id or alias of the compute in the request.
            path: field of the request.
            is_for_image: whether an image is created for it, which may be possible even if it cannot run services.

        Raises:
            Problem: 404 for an unknown compute; 409 when it is not available.
        """
        aliases = self._aliases(db, account)
        clusters = self._clusters.current()
        unavailable = self._clusters.unavailable()
        ids = [*self._computes.ids, *clusters, *unavailable]
        chosen = chosen_compute(given, ids, aliases)
        if chosen is None:
            known = ", ".join(sorted({*ids, *aliases}))
            raise not_found("compute", str(given), path, f"The computes are: {known}.")
        if chosen.id == DOCKER:
            try:
                self._check_image_builder() if is_for_image else self._engine.check()
            except EngineError as error:
                raise conflict(error.code, f"{path}: {error.message}") from error
        cluster = clusters.get(chosen.id)
        if problem := cluster.problem() if cluster else unavailable.get(chosen.id):
            raise conflict(problem.code, f"{path}: {problem.message}")
        return chosen

    def has(self, compute_id: str) -> bool:
        clusters = self._clusters
        return compute_id in self._computes or compute_id in clusters.current() or compute_id in clusters.unavailable()

    def is_exposed(self, compute_id: str) -> bool:
        """Return whether scoring URLs lead to a cluster itself."""
        cluster = self._clusters.current().get(compute_id)
        return cluster is not None and cluster.is_exposed

    def exposed_url(self, compute_id: str, service_id: str) -> str | None:
        """Return the scoring URL of a service at its cluster itself, if it already has one."""
        cluster = self._clusters.current().get(compute_id)
        return cluster.url(service_id) if cluster else None

    def _aliases(self, db: Connection, account: str) -> dict[str, str]:
        table = schema.compute_aliases
        rows = db.execute(select(table.c.name, table.c.compute_id).where(table.c.account == account))
        return {row.name: row.compute_id for row in rows}

    def all_of(self, account: str) -> list[dict[str, str | None]]:
        """Return the computes, with the reason if they are not available, and their aliases in an account."""
        found: list[dict[str, str | None]] = []
        for compute_id in self._computes.ids:
            try:
                if compute_id == DOCKER:
                    self._engine.check()
                found.append({"id": compute_id, "state": "ready", "reason": None})
            except EngineError as error:
                found.append({"id": compute_id, "state": "unavailable", "reason": error.message})
        for name, cluster in self._clusters.current().items():
            problem = cluster.problem()
            reason = problem.message if problem else None
            found.append({"id": name, "state": "unavailable" if problem else "ready", "reason": reason})
        for name, cause in self._clusters.unavailable().items():
            found.append({"id": name, "state": "unavailable", "reason": cause.message})
        by_id = {each["id"]: each for each in found}
        with self._store.reading() as db:
            aliases = self._aliases(db, account)
        return found + [
            {**by_id[compute_id], "id": name, "aliasOf": compute_id}
            for name, compute_id in sorted(aliases.items())
            if compute_id in by_id
        ]
