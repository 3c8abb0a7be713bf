"""The condition of a service: whether it answers, which is not the same as how its last operation ended."""

from __future__ import annotations

from mlmgmt_nb.contract import ServiceResponse

__all__ = ["condition"]

_OPEN = frozenset({"NotStarted", "Running"})


def condition(service: ServiceResponse) -> str:
    """Whether the service answers, in a word or two.

    `Succeeded` stays: its last operation made it so. A service whose last operation failed or was cancelled goes on
    with what it served before, if it served anything: then it has a scoring URL.

    Example:
        >>> condition(ws.services.get("iris"))
        'Succeeded'
    """
    if service.state in _OPEN:
        return "Deploying"
    if service.state == "Succeeded":
        return "Succeeded"
    if not service.scoring_uri:
        return "Not serving"
    return "Scaled to zero" if service.num_replicas == 0 else "Serving"
