"""Commands: services."""

from mlmgmt_nb.commands.verbs.services import candidates, changing, comparing, panels, reading, scoring
from mlmgmt_nb.commands.verbs.services.scoring import sample

__all__ = ["COMMANDS", "sample"]

COMMANDS = (
    *changing.COMMANDS,
    *candidates.COMMANDS,
    *comparing.COMMANDS,
    *reading.COMMANDS,
    *scoring.COMMANDS,
    *panels.COMMANDS,
)
