"""Small charts as HTML and SVG that need no script: alike in a live panel and in a saved one, on light and dark."""

from mlmgmt_nb.charts.bars import Bars, histogram
from mlmgmt_nb.charts.lines import Series, chart
from mlmgmt_nb.charts.matrix import matrix
from mlmgmt_nb.charts.picture import short, still
from mlmgmt_nb.charts.points import points

__all__ = ["Bars", "Series", "chart", "histogram", "matrix", "points", "short", "still"]
