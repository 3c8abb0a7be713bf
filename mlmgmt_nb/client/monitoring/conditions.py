"""The condition of a service: whether it answers, which may differ from the result of its last operation."""

from __future__ import annotations

from mlmgmt_nb.contract import ServiceResponse

__all__ = ["condition", "condition_of"]

_OPEN = frozenset({"NotStarted", "Running"})


def condition(service: ServiceResponse) -> str:
    """Return the condition of a service in a word or two.

    `Succeeded` stays as it is. A service whose last operation failed or was cancelled still runs its previous
    deployment if it has one, and then it has a scoring URL.

    Example:
        >>> condition(ws.services.get("iris"))
        'Succeeded'
    """
    return condition_of(service.state, has_url=bool(service.scoring_uri), replicas=service.num_replicas)


def condition_of(state: str | None, *, has_url: bool, replicas: int | None) -> str:
    """Return the condition from the state of the last operation, the scoring URL, and the replicas."""
    if state in _OPEN:
        return "Deploying"
    if state == "Succeeded":
        return "Succeeded"
    if not has_url:
        return "Not serving"
    return "Scaled to zero" if replicas == 0 else "Serving"
