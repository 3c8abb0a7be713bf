"""The typed client of the Model Management API. `connect()` returns a `Workspace`, the entry point to everything
else."""

from mlmgmt_nb.client.applications.application import Application
from mlmgmt_nb.client.auth.signin import SignIn
from mlmgmt_nb.client.bodies import ServiceSettings
from mlmgmt_nb.client.http.paging import Page, Pager
from mlmgmt_nb.client.monitoring.logs import LogPart
from mlmgmt_nb.client.monitoring.metrics import ServiceMetrics
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.scoring import Scored
from mlmgmt_nb.client.scoring_tests.options import LoadOptions
from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.scoring_tests.test import ScoringTest
from mlmgmt_nb.client.workspace import Workspace, connect

__all__ = [
    "Application",
    "LoadOptions",
    "LogPart",
    "Page",
    "Pager",
    "Poller",
    "Scored",
    "ScoringReport",
    "ScoringTest",
    "ServiceMetrics",
    "ServiceSettings",
    "SignIn",
    "Workspace",
    "connect",
]
