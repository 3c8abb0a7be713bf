"""A list as a DataFrame with all columns. Its display shows only the important ones."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, ClassVar

import pandas as pd

from mlmgmt_nb.commands.output.listing import COLUMNS, cut

__all__ = ["ListedFrame"]

_STANDS_FOR = {"image": ("image_id",), "age": ("created_at", "created_time")}
_WHOLE = ("display.max_colwidth", None, "display.max_columns", None, "display.expand_frame_repr", False)
_CELL = re.compile("<t([hd])>([^<]+)</t[hd]>")
_SHORT, _LONG = 20, 100
"""Characters of a value that stays on one line, unless the page is narrow; and of one that does in a wide list."""
_STYLE = """\
<style>
@media (max-width: 1000px) { td.mlmgmt-listed-url { overflow-wrap: anywhere; min-width: 5em; } }
@media (max-width: 760px) { .jp-RenderedHTMLCommon [class^="mlmgmt-listed-"] { padding: .5em .25em; } }
@media (min-width: 761px) { td.mlmgmt-listed-short { white-space: nowrap; } }
@media (min-width: 1201px) { th.mlmgmt-listed-title wbr { display: none; } }
.mlmgmt-listed-all { overflow-x: auto; }
.mlmgmt-listed-all wbr { display: none; }
.mlmgmt-listed-all [class^="mlmgmt-listed-"] { white-space: nowrap; }
.mlmgmt-listed-all td.mlmgmt-listed-text { white-space: normal; min-width: 40em; }
</style>
"""
"""In a narrow page, cells are closer, and URLs and titles have as many lines as they need. All columns are scrolled."""


class ListedFrame(pd.DataFrame):
    """The resources of a list. Results of DataFrame operations, such as a selection, are ordinary DataFrames.

    Its display shows the columns of `mlmgmt ... list` that have a value, without truncation by pandas, and the number
    of all columns.
    """

    _metadata: ClassVar[list[str]] = ["_for_people", "_of_list", "_is_wide"]
    _for_people: list[str]
    _of_list: list[str]
    _is_wide: bool

    @classmethod
    def of(cls, frame: pd.DataFrame, item: type, *, is_wide: bool = False) -> ListedFrame:
        """Return the frame of a list.

        Args:
            frame: all columns, in order.
            item: type of the resources.
            is_wide: whether to display all columns that have a value, and texts of any length.
        """
        listed = cls(frame)
        important = [name for name in _columns_of(item) if name in frame.columns]
        others = [name for name in frame.columns if name not in important]
        listed._for_people = [*important, *others] if is_wide or not important else important
        listed._of_list = list(frame.columns)
        listed._is_wide = is_wide
        return listed

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        with pd.option_context(*_WHOLE):
            return f"{self._displayed()!r}\n{self._size()}"

    def _repr_html_(self) -> str:
        displayed: Any = self._displayed()  # the pandas stubs lack the method
        with pd.option_context(*_WHOLE, "display.show_dimensions", False):
            table = _CELL.sub(_styled, displayed._repr_html_())
        table = f'<div class="mlmgmt-listed-all">{table}</div>' if self._is_wide else table
        return f"{_STYLE}{table}<div>{self._size()}</div>"

    def _displayed(self) -> pd.DataFrame:
        added = [name for name in self.columns if name not in {*self._of_list, *self._for_people}]
        names = [*(name for name in self._for_people if name in self.columns), *added]
        shown = pd.DataFrame(self)[[name for name in names if self.empty or not _is_empty(self[name])]]
        for name in shown.columns:
            if isinstance(shown[name].dtype, pd.DatetimeTZDtype):
                shown[name] = shown[name].dt.strftime("%Y-%m-%d %H:%M:%S UTC")
            else:
                text = _joined if self._is_wide else partial(cut, name)
                shown[name] = shown[name].map(text, na_action="ignore")
        return shown

    def _size(self) -> str:
        rows = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        return f"{rows}, {len(self._displayed().columns)} of {len(self.columns)} columns"


def _joined(value: Any) -> Any:
    """Return the items of a list or an object as one text."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items() if item is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _styled(cell: re.Match[str]) -> str:
    """Return a cell as HTML: with a class for a title, a URL, or a value by its length."""
    kind, text = cell.groups()
    if kind == "h":
        return f'<th class="mlmgmt-listed-title">{text.replace("_", "_<wbr>")}</th>'
    if text.startswith(("http://", "https://")):
        return f'<td class="mlmgmt-listed-url">{text}</td>'
    size = "short" if len(text) <= _SHORT else "long" if len(text) <= _LONG else "text"
    return f'<td class="mlmgmt-listed-{size}">{text}</td>'


def _columns_of(item: type) -> list[str]:
    """Return the DataFrame names of the important columns of a type; an empty list if the type has none."""
    names = next((COLUMNS[base] for base in item.__mro__ if base in COLUMNS), ())
    snake = [re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in names]
    return [column for name in snake for column in _STANDS_FOR.get(name, (name,))]


def _is_empty(column: pd.Series[Any]) -> bool:
    """Return whether all values are missing, False or empty, or, for `last_operation`, `Succeeded`."""
    if column.name == "last_operation":
        return bool((column == "Succeeded").all())
    return all(value is False or (isinstance(value, (str, list, dict)) and not value) for value in column.dropna())
