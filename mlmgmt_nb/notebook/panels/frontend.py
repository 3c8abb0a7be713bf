"""Widgets with a custom frontend: a JavaScript module and its CSS, from the folder of the panel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from mlmgmt_nb.notebook.display.code import CODE_CSS
from mlmgmt_nb.notebook.panels.in_order import InOrder

__all__ = ["frontend"]

_PARTS = {"service": ("key_rows.js",), "keys": ("key_rows.js",)}
"""Modules shared by some frontends, in addition to `common.js`."""
_PANELS = Path(__file__).parent


def frontend(name: str, shown: dict[str, Any], on_message: Callable[[dict[str, Any]], None]) -> Any:
    """Create a widget whose frontend is `NAME/NAME.js` and `NAME/NAME.css`, each appended to the common file.

    The frontend draws `model.get("shown")` and reports user actions with the function that `inOrder(model)` returns,
    which calls `on_message`. `shown` is saved with the notebook. Send secrets with `widget.send({...})` to
    `model.on("msg:custom", ...)`, which is not saved.

    Args:
        name: the name of the folder and files.
        shown: the state to draw, as JSON types; assign a new value to `widget.shown` to redraw.
        on_message: called with each message, in the order of its view; must return quickly, like all widget callbacks.
    """
    widget = _kind(name)(shown=shown)
    in_order = InOrder(on_message)
    widget.on_msg(lambda _, content, __: in_order(content))
    return widget


@cache
def _kind(name: str) -> Any:
    import anywidget
    import traitlets

    members = {
        "_esm": "".join(_asset(part) for part in ("common.js", *_PARTS.get(name, ()), f"{name}/{name}.js")),
        "_css": _asset("common.css") + CODE_CSS + _asset(f"{name}/{name}.css"),
        "shown": traitlets.Dict().tag(sync=True),
        "_repr_mimebundle_": lambda _, **__: None,  # the default repr contains `shown`
        "__repr__": lambda _: f"<{name}>",
        "__module__": __name__,
    }
    return type(name.title(), (anywidget.AnyWidget,), members)


def _asset(name: str) -> str:
    return (_PANELS / name).read_text(encoding="utf-8")
