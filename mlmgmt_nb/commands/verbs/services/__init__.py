"""Commands: services."""

from typing import Any

from mlmgmt_nb.commands.grammar import Command
from mlmgmt_nb.commands.verbs.services import changing, panels, reading, scoring
from mlmgmt_nb.commands.verbs.services.scoring import sample

__all__ = ["COMMANDS", "sample"]

COMMANDS: tuple[Command[Any], ...] = (
    *changing.COMMANDS,
    *reading.COMMANDS,
    *scoring.COMMANDS,
    *panels.COMMANDS,
)
