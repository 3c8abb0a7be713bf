"""The table of all commands."""

from __future__ import annotations

from mlmgmt_nb.commands import (
    accounts,
    collected,
    drivers,
    images,
    manifests,
    models,
    others,
    packages,
    services,
    signing,
    testing,
)
from mlmgmt_nb.commands.grammar import Command

__all__ = ["COMMANDS"]

COMMANDS: tuple[Command, ...] = (
    *models.COMMANDS,
    *manifests.COMMANDS,
    *images.COMMANDS,
    *services.COMMANDS,
    *testing.COMMANDS,
    *collected.COMMANDS,
    *others.COMMANDS,
    *drivers.COMMANDS,
    *packages.COMMANDS,
    *accounts.COMMANDS,
    *signing.COMMANDS,
)
"""All commands, in the order in which help shows them."""
