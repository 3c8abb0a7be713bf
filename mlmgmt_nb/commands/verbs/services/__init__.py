"""Commands: services."""

from mlmgmt_nb.commands.verbs.services import changing, comparing, panels, reading, scoring
from mlmgmt_nb.commands.verbs.services.scoring import sample

__all__ = ["COMMANDS", "sample"]

COMMANDS = (*changing.COMMANDS, *comparing.COMMANDS, *reading.COMMANDS, *scoring.COMMANDS, *panels.COMMANDS)
