"""The table of all commands."""

from __future__ import annotations

from mlmgmt_nb.commands.grammar import Command
from mlmgmt_nb.commands.verbs import (
    accounts,
    collected,
    drivers,
    images,
    manifests,
    models,
    others,
    packages,
    services,
)
from mlmgmt_nb.commands.verbs import (
    auth as signing,
)
from mlmgmt_nb.commands.verbs import (
    scoring_tests as testing,
)

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
