"""The workspace: one account of the Model Management API, and how to connect to it."""

from mlmgmt_nb.client.workspace.connection import connect
from mlmgmt_nb.client.workspace.workspace import Workspace

__all__ = ["Workspace", "connect"]
