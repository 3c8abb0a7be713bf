"""The actions of the reconciler: data, carried out by the controller."""

from __future__ import annotations

import msgspec

__all__ = [
    "Action",
    "Adopt",
    "Close",
    "Drain",
    "Fail",
    "Keep",
    "Kill",
    "Open",
    "Refuse",
    "Release",
    "Route",
    "Show",
    "Start",
    "Succeed",
]


class Action(msgspec.Struct, frozen=True, tag=True):
    service_id: str


class Open(Action, frozen=True):
    """Open the socket of the service."""


class Start(Action, frozen=True):
    """Start a replica of a deployment."""

    deployment_id: str


class Adopt(Action, frozen=True):
    """Assign a ready or kept replica of an identical deployment, such as a candidate, to a deployment."""

    deployment_id: str
    replica_id: str


class Route(Action, frozen=True):
    """Divide the requests of the service between its deployment and its candidate."""


class Release(Action, frozen=True):
    """Stop splitting the requests of the service."""


class Show(Action, frozen=True):
    """Make a replica accept the connections of its service if `at_service`, or leave them to the router."""

    replica_id: str
    at_service: bool


class Keep(Action, frozen=True):
    """Retire a replica: it finishes its requests, and stays for a rollback."""

    replica_id: str


class Drain(Action, frozen=True):
    """Retire a replica: it finishes its requests, then ends."""

    replica_id: str


class Kill(Action, frozen=True):
    """End a replica immediately. `hung` if it was unresponsive."""

    replica_id: str
    hung: bool = False


class Succeed(Action, frozen=True):
    """The rollout is complete: the target serves. `warning` is the warning of its replicas, if any."""

    warning: str | None = None


class Fail(Action, frozen=True):
    """The rollout failed."""

    code: str
    message: str


class Refuse(Action, frozen=True):
    """Refuse the requests that wait at the socket: the service has no replicas, and none will be ready soon."""

    message: str


class Close(Action, frozen=True):
    """Close the socket of a deleted service without replicas, and remove the service."""
