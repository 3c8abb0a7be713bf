"""mlmgmt-nb: manage and serve machine-learning models from the notebook.

`connect()` returns a session with the Model Management API. Without arguments, it finds or starts the user's embedded
service. Importing this package is cheap: modules are imported on first use. Images contain this file with the scoring
runtime, which needs only the version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlmgmt_nb.client import Workspace, connect

__all__ = ["Workspace", "__version__", "connect"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in {"connect", "Workspace"}:
        from mlmgmt_nb import client

        return getattr(client, name)
    if not name.startswith("_"):
        from mlmgmt_nb.other_tools import advice_for_name

        if moved := advice_for_name(name):
            from mlmgmt_nb.errors import UsageError

            # Not an AttributeError: `from mlmgmt_nb import NAME` would replace it, and lose the advice.
            raise UsageError(f"{moved.problem}.", fix=moved.fix)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(ipython: Any) -> None:
    """Add `%mlmgmt` and `%%mlmgmt` to the shell `ipython`, for `%load_ext mlmgmt_nb`."""
    from mlmgmt_nb import notebook

    notebook.load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Remove the magics from the shell `ipython`, for `%unload_ext mlmgmt_nb`."""
    from mlmgmt_nb import notebook

    notebook.unload_ipython_extension(ipython)


def __dir__() -> list[str]:
    return sorted(__all__)
