"""Commands: services."""

from mlmgmt_nb.commands.verbs.services import candidates, changing, comparing, panels, reading, replaying, scoring
from mlmgmt_nb.commands.verbs.services.scoring import sample

__all__ = ["COMMANDS", "sample"]

COMMANDS = (
    *changing.COMMANDS,
    *candidates.COMMANDS,
    *comparing.COMMANDS,
    *reading.COMMANDS,
    *scoring.COMMANDS,
    *replaying.COMMANDS,
    *panels.COMMANDS,
)
