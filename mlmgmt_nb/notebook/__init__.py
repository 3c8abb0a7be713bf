"""IPython's door: `%mlmgmt` and `%%mlmgmt`, their completion, and how resources look in a notebook."""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """Called by `%load_ext`. What the commands need is imported by the first of them."""
    from mlmgmt_nb.notebook.magics import MlmgmtMagics

    magics = MlmgmtMagics(ipython)
    ipython.register_magics(magics)
    magics.attach()


def unload_ipython_extension(ipython: Any) -> None:
    """Called by `%unload_ext` and `%reload_ext`."""
    magics = ipython.magics_manager.registry.pop("MlmgmtMagics", None)
    if magics is not None:
        magics.detach()
    for kind in ("line", "cell"):
        ipython.magics_manager.magics[kind].pop("mlmgmt", None)
