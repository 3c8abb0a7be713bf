"""The drift of all columns: as data, text and HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlmgmt_nb.charts import Bars, histogram, short, still
from mlmgmt_nb.client.drift.stability import ColumnDrift, categorical, numeric
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.short_repr import cut
from mlmgmt_nb.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Drift", "drift_of"]

_GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:10px 20px;margin:6px 0"
_FIELDS = ("column", "kind", "psi", "by_chance", "verdict")
_COLLECTED = ("model", "identifier", "$Timestamp", "$CorrelationId", "$RequestId")
_FORMULA = (
    "PSI: the sum of (a - e) ln(a / e) over the shares e of the sample and a of the collected rows (Siddiqi 2006); "
    "below 0.1 stable, above 0.25 large. `by_chance` is what as many rows without drift exceed in 5 of 100 cases."
)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The drift of the inputs that a service collected, against a training sample.

    Attributes:
        service: name of the service.
        identifier: identifier of the collector.
        sample_rows, collected_rows: number of rows on both sides.
        columns: the drift of each column, largest first.
        notes: parts that could not be compared, in sentences.
    """

    service: str
    identifier: str
    sample_rows: int
    collected_rows: int
    columns: Sequence[ColumnDrift]
    notes: Sequence[str] = ()

    @property
    def drifted(self) -> list[str]:
        """The names of the columns with moderate or large drift."""
        return [column.name for column in self.columns if column.verdict in ("moderate", "large")]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        columns = [{**column._asdict(), "verdict": column.verdict} for column in self.columns]
        return {**asdict(self), "columns": columns, "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each column."""
        import pandas as pd

        rows = [(each.name, each.kind, each.psi, each.by_chance, each.verdict) for each in self.columns]
        return pd.DataFrame(rows, columns=list(_FIELDS))

    def to_html(self) -> str:
        """Return the numbers and a chart of each column as HTML that needs no script and no other file."""
        notes = "".join(f'<div style="opacity:.8">{html.escape(note)}</div>' for note in (*self.notes, _FORMULA))
        charts = "".join(map(_chart, self.columns))
        return f'<div><b>{html.escape(self._title)}</b><div style="{_GRID}">{charts}</div>{notes}</div>'

    def _repr_html_(self) -> str:
        return still(self.to_html())

    @property
    def _title(self) -> str:
        rows = f"{self.collected_rows:,} collected rows against {self.sample_rows:,} of the sample"
        return f"Drift of {self.identifier} of {self.service}: {rows}"

    def __str__(self) -> str:
        width = max((len(column.name) for column in self.columns), default=0)
        lines = [f"  {each.name:<{width}}  {_numbers(each)}" for each in self.columns]
        return printable("\n".join([self._title, *lines, *self.notes, _FORMULA]))

    def __repr__(self) -> str:
        return f"<{cut(self._title, 200)}>"


def _numbers(column: ColumnDrift) -> str:
    means = "" if column.means is None else f", mean {short(column.means[0])} to {short(column.means[1])}"
    return f"PSI {column.psi:.3f} ({column.verdict}), by chance {column.by_chance:.3f}{means}"


def _chart(column: ColumnDrift) -> str:
    """Return the shares of sample and collected rows in each bin."""
    shares = [[count / max(1, sum(counts)) for count in counts] for counts in (column.expected, column.actual)]
    changed = max(range(len(column.bins)), key=lambda place: abs(shares[1][place] - shares[0][place]))
    most = f"{column.bins[changed]} {shares[0][changed]:.0%} to {shares[1][changed]:.0%}"
    is_numeric = column.kind == "numeric"
    label = f"{column.name}: {_numbers(column)}; most changed: {'up to ' if is_numeric else ''}{most}"
    groups = [Bars("sample", shares[0]), Bars("collected", shares[1])]
    ends = (f"to {column.bins[0]}" if is_numeric else column.bins[0], column.bins[-1])
    return histogram(column.name, label, groups, ends, note=f"PSI {column.psi:.3f}, {column.verdict}", height=84)


def drift_of(service: str, sample: Any, data: pd.DataFrame, identifier: str | None = None) -> Drift:
    """Return the drift of collected rows against a sample.

    Args:
        service: name of the service.
        sample: a DataFrame, or an array whose columns were collected under their numbers.
        data: the collected rows, as `services.data` returns them.
        identifier: identifier of the collector (default: the one with most columns of the sample).

    Raises:
        UsageError: the sample is empty, or none of its columns was collected.
    """
    import pandas as pd

    known = pd.DataFrame(sample)
    if known.empty:
        raise UsageError("sample: it has no rows", field="sample", fix="Give rows that the model was trained with.")
    known.columns = known.columns.map(str)
    name, rows = _chosen(known, data, identifier)
    both = [column for column in known.columns if column in rows.columns]
    found = [_column(column, known[column], rows[column]) for column in both]
    missing = [column for column in known.columns if column not in both]
    notes = [f"not collected: {', '.join(missing)}"] if missing else []
    found.sort(key=lambda column: -column.psi)
    return Drift(
        service=service,
        identifier=name,
        sample_rows=len(known),
        collected_rows=len(rows),
        columns=found,
        notes=notes,
    )


def _chosen(known: pd.DataFrame, data: pd.DataFrame, identifier: str | None) -> tuple[str, pd.DataFrame]:
    """Return the collector with most columns of the sample, and its rows."""
    groups = {str(name): rows for name, rows in data.groupby("identifier") if identifier in (None, name)}
    shared = {name: _filled(rows).intersection(known.columns) for name, rows in groups.items()}
    best = max(shared, key=lambda name: len(shared[name]), default="")
    if not best or not len(shared[best]):
        collected = "; ".join(f"{name}: {', '.join(_filled(rows))}" for name, rows in groups.items())
        raise UsageError(
            f"sample: no column of it was collected (collected: {collected or 'nothing'})",
            field="sample",
            fix="Give a DataFrame with the columns that the driver collects, and send requests first.",
        )
    return best, groups[best]


def _filled(rows: pd.DataFrame) -> pd.Index[Any]:
    """Return the columns of a collector; columns of other collectors are empty in its rows."""
    return rows.drop(columns=list(_COLLECTED), errors="ignore").dropna(axis="columns", how="all").columns


def _column(name: str, sample: pd.Series[Any], collected: pd.Series[Any]) -> ColumnDrift:
    """Return the drift of a column. Collected values are read from text, so the sample determines their type."""
    import pandas as pd
    from pandas.api import types

    if types.is_datetime64_any_dtype(sample):
        times = (pd.to_datetime(each, errors="coerce", utc=True) for each in (sample, collected))
        return numeric(name, *((each - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1) for each in times))
    if types.is_numeric_dtype(sample) and not types.is_bool_dtype(sample):
        return numeric(name, sample.astype(float), pd.to_numeric(collected, errors="coerce"))
    return categorical(name, sample, collected)
