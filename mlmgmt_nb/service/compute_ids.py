"""The ids of computes: fixed ids, aliases, and the resource ids of clusters that clients of 2017 send."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

__all__ = ["DOCKER", "LOCAL", "ChosenCompute", "chosen_compute"]

LOCAL = "local"
"""Id of the compute that every service has."""


DOCKER = "docker"
"""Id of the compute of the Docker engine."""

_RESOURCE_ID = "/subscriptions/"


class ChosenCompute(NamedTuple):
    """The compute for an id in a request.

    Attributes:
        id: the compute.
        given: the id in the request, if it differs.
        warning: the reason for which this may not be the compute that the caller meant.
    """

    id: str
    given: str | None = None
    warning: str | None = None


def chosen_compute(given: str | None, computes: Collection[str], aliases: Mapping[str, str]) -> ChosenCompute | None:
    """Return the compute for an id, or None if there is none.

    The id, or its last part, may be an alias; the last part may be the id of a compute. A resource id of 2017 with an
    unknown cluster selects `local`, and so does None.

    Args:
        given: the id in the request.
        computes: the ids of the computes.
        aliases: computes by alias.
    """
    if given is None:
        return ChosenCompute(LOCAL)
    name = given.rstrip("/").rpartition("/")[2]
    found = aliases.get(given) or aliases.get(name) or name
    if found in computes:
        return ChosenCompute(found, None if given == found else given)
    if not given.lower().startswith(_RESOURCE_ID):
        return None
    return ChosenCompute(
        LOCAL,
        given,
        f"Cluster {name!r} is not known here, so compute {LOCAL!r} is used. "
        f"`mlmgmt env alias {name} COMPUTE` chooses a compute for later requests.",
    )
