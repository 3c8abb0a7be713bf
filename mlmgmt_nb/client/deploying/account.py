"""The part of a workspace that a deployment needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlmgmt_nb.client.images import Images
from mlmgmt_nb.client.manifests import Manifests
from mlmgmt_nb.client.models import Models
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.services import Services

__all__ = ["Account"]


class Account(Protocol):
    """The resources of a workspace that a deployment uses."""

    models: Models
    manifests: Manifests
    images: Images
    operations: Operations

    @property
    def services(self) -> Services: ...

    @property
    def connect_arguments(self) -> Mapping[str, str]: ...
