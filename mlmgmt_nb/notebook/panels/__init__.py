"""What moves in a notebook while one watches, and is a readable picture afterwards."""

from mlmgmt_nb.notebook.panels.deploy import DeployPanel
from mlmgmt_nb.notebook.panels.operation import OperationPanel
from mlmgmt_nb.notebook.panels.scoring import ScoringPanel
from mlmgmt_nb.notebook.panels.scoring_test import ScoringTestPanel
from mlmgmt_nb.notebook.panels.service import ServicePanel
from mlmgmt_nb.notebook.panels.workspace import WorkspacePanel

__all__ = ["DeployPanel", "OperationPanel", "ScoringPanel", "ScoringTestPanel", "ServicePanel", "WorkspacePanel"]
