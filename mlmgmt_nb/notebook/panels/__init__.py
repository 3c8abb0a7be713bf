"""Live panels for notebooks. Each has a static picture that is saved with the notebook."""

from mlmgmt_nb.notebook.panels.change.view import ChangePanel
from mlmgmt_nb.notebook.panels.deploy.view import DeployPanel
from mlmgmt_nb.notebook.panels.operation.view import OperationPanel
from mlmgmt_nb.notebook.panels.scoring.view import ScoringPanel
from mlmgmt_nb.notebook.panels.scoring_test.view import ScoringTestPanel
from mlmgmt_nb.notebook.panels.service.view import ServicePanel
from mlmgmt_nb.notebook.panels.workspace.view import WorkspacePanel

__all__ = [
    "ChangePanel",
    "DeployPanel",
    "OperationPanel",
    "ScoringPanel",
    "ScoringTestPanel",
    "ServicePanel",
    "WorkspacePanel",
]
