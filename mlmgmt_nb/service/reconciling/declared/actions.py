"""The actions of the step: data, carried out by the controller."""

from __future__ import annotations

import msgspec

__all__ = ["Action", "Declare", "Fail", "Forget", "Open", "Release", "Remove", "Route", "Scale", "Succeed"]


class Action(msgspec.Struct, frozen=True, tag=True):
    service_id: str


class Open(Action, frozen=True):
    """Accept requests for the service in this process."""


class Route(Action, frozen=True):
    """Divide the requests for the service between its pods and those of its candidate."""


class Release(Action, frozen=True):
    """Send all requests for the service to its own pods."""


class Declare(Action, frozen=True):
    """Declare a deployment of the service to the compute."""

    deployment_id: str


class Scale(Action, frozen=True):
    """Declare another number of replicas of the service to the compute."""

    replicas: int


class Remove(Action, frozen=True):
    """Remove everything of the service from the compute."""


class Succeed(Action, frozen=True):
    """The rollout is complete: the target serves."""


class Fail(Action, frozen=True):
    """The rollout failed."""

    code: str
    message: str


class Forget(Action, frozen=True):
    """Remove the deleted service from the store: the compute no longer has any of it."""
