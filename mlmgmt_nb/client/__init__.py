"""The typed client of the Model Management API. `connect()` gives a `Workspace`; the rest hangs on that."""

from mlmgmt_nb.client.application import Application
from mlmgmt_nb.client.bodies import ServiceSettings
from mlmgmt_nb.client.logs import LogPart
from mlmgmt_nb.client.metrics import ServiceMetrics
from mlmgmt_nb.client.paging import Page, Pager
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.report import ScoringReport
from mlmgmt_nb.client.scoring import Scored
from mlmgmt_nb.client.signin import SignIn
from mlmgmt_nb.client.testing import LoadOptions, ScoringTest
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
