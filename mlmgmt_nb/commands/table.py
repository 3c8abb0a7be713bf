"""The table of all commands."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.commands.grammar import Command
from mlmgmt_nb.commands.verbs import (
    accounts,
    auth,
    clusters,
    collected,
    computes,
    deployments,
    drivers,
    generated_drivers,
    operations,
    scoring_tests,
    services,
)
from mlmgmt_nb.commands.verbs.versions import images, manifests, models

__all__ = ["COMMANDS"]

COMMANDS: tuple[Command[Any], ...] = (
    *models.COMMANDS,
    *manifests.COMMANDS,
    *images.COMMANDS,
    *services.COMMANDS,
    *scoring_tests.COMMANDS,
    *collected.COMMANDS,
    *deployments.COMMANDS,
    *operations.COMMANDS,
    *drivers.COMMANDS,
    *generated_drivers.COMMANDS,
    *accounts.COMMANDS,
    *computes.COMMANDS,
    *clusters.COMMANDS,
    *auth.COMMANDS,
)
"""All commands, in the order in which help shows them."""
