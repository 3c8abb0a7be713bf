"""Front ends of our own, where ipywidgets has none: a JavaScript module and its style, from the folder of the panel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["front"]

_PARTS = {"service": ("key_rows.js",), "keys": ("key_rows.js",)}
"""What some front ends share, besides what all do."""
_PANELS = Path(__file__).parent


def front(name: str, shown: dict[str, Any], on_message: Callable[[dict[str, Any]], None]) -> Any:
    """Make a widget whose front end is `NAME/NAME.js` and `NAME/NAME.css`, each after what all have in common.

    The front end draws `model.get("shown")` and tells what the user does by `model.send({...})`, which comes to
    `on_message`. `shown` lands in the saved notebook. Secrets go by `widget.send({...})` to
    `model.on("msg:custom", ...)`, which is kept nowhere.

    Args:
        name: of the files.
        shown: what JSON can tell; set `widget.shown` to a new value to have it drawn again.
        on_message: must be short, as all callbacks of widgets.
    """
    widget = _kind(name)(shown=shown)
    widget.on_msg(lambda _, content, __: on_message(content))
    return widget


@cache
def _kind(name: str) -> Any:
    import anywidget
    import traitlets

    members = {
        "_esm": "".join(_asset(part) for part in ("common.js", *_PARTS.get(name, ()), f"{name}/{name}.js")),
        "_css": _asset("common.css") + _asset(f"{name}/{name}.css"),
        "shown": traitlets.Dict().tag(sync=True),
        "_repr_mimebundle_": lambda _, **__: None,  # the default names what it shows
        "__repr__": lambda _: f"<{name}>",
        "__module__": __name__,
    }
    return type(name.title(), (anywidget.AnyWidget,), members)


def _asset(name: str) -> str:
    return (_PANELS / name).read_text(encoding="utf-8")
