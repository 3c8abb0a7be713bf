"""The grammar of commands and what they do. Magic, shell, completion and help come from one table."""

from mlmgmt_nb.commands.grammar import Command, Flag, Help
from mlmgmt_nb.commands.session import Outcome, Session
from mlmgmt_nb.commands.shell import main
from mlmgmt_nb.commands.table import COMMANDS

__all__ = ["COMMANDS", "Command", "Flag", "Help", "Outcome", "Session", "main"]
