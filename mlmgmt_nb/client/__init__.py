"""The typed client of the Model Management API. `connect()` returns a `Workspace`, the entry point to everything
else. Modules are imported on first use: `connect()` starts the embedded service before it imports the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from mlmgmt_nb.client.workspace.connection import connect
    from mlmgmt_nb.client.workspace.workspace import Workspace

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

_MODULES = {
    "Application": "applications.application",
    "LoadOptions": "scoring_tests.options",
    "LogPart": "monitoring.logs",
    "Page": "http.paging",
    "Pager": "http.paging",
    "Poller": "polling",
    "Scored": "scoring",
    "ScoringReport": "scoring_tests.report",
    "ScoringTest": "scoring_tests.test",
    "ServiceMetrics": "monitoring.metrics",
    "ServiceSettings": "bodies",
    "SignIn": "auth.signin",
    "Workspace": "workspace.workspace",
    "connect": "workspace.connection",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
