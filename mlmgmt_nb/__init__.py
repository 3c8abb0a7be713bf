"""mlmgmt-nb: manage and serve machine-learning models from the notebook.

`connect()` gives a session with the Model Management API; without arguments it finds the user's embedded service or
starts it. Importing this package is cheap: everything is loaded when first used (the scoring runtime, which ships into
images with this file, needs no more of it than the version).
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

            # Not an AttributeError: `from mlmgmt_nb import NAME` would replace it and its advice.
            raise UsageError(f"{moved.problem}.", fix=moved.fix)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext mlmgmt_nb`: adds `%mlmgmt` and `%%mlmgmt` to the running `ipython`."""
    from mlmgmt_nb import notebook

    notebook.load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """`%unload_ext mlmgmt_nb`: takes them away from `ipython` again."""
    from mlmgmt_nb import notebook

    notebook.unload_ipython_extension(ipython)


def __dir__() -> list[str]:
    return sorted(__all__)
