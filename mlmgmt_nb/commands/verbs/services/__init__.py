"""Commands: services."""

from mlmgmt_nb.commands.verbs.services import changing, panels, reading, scoring
from mlmgmt_nb.commands.verbs.services.scoring import sample

__all__ = ["COMMANDS", "sample"]

COMMANDS = (*changing.COMMANDS, *reading.COMMANDS, *scoring.COMMANDS, *panels.COMMANDS)
