"""IPython extension: `%mlmgmt` and `%%mlmgmt`, their completion, and the rich display of resources."""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """Register the magics, for `%load_ext`. The first command imports the modules that commands need."""
    from mlmgmt_nb.notebook.magics import MlmgmtMagics

    magics = MlmgmtMagics(ipython)
    ipython.register_magics(magics)
    magics.attach()


def unload_ipython_extension(ipython: Any) -> None:
    """Remove the magics, for `%unload_ext` and `%reload_ext`."""
    magics = ipython.magics_manager.registry.pop("MlmgmtMagics", None)
    if magics is not None:
        magics.detach()
    for kind in ("line", "cell"):
        ipython.magics_manager.magics[kind].pop("mlmgmt", None)
