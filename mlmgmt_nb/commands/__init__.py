"""The grammar of commands and their implementation. The magics, the shell, completion and help share one table."""

from mlmgmt_nb.commands.grammar import Command, Flag, Help
from mlmgmt_nb.commands.session import Outcome, Session
from mlmgmt_nb.commands.shell import main
from mlmgmt_nb.commands.table import COMMANDS

__all__ = ["COMMANDS", "Command", "Flag", "Help", "Outcome", "Session", "main"]
