"""Cases of a scoring test: inputs, the bodies of their requests, and the expected answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from mlmgmt_nb.client.scoring import as_json, encode_input, swagger_arguments
from mlmgmt_nb.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cases", "cases_of"]


@dataclass(frozen=True)
class Cases:
    """The cases.

    Attributes:
        bodies: the request body of each case.
        expected: the expected answer of each case, as JSON values; None if no answer is expected.
        given: returns the input of a case by its number, for the user's own check.
    """

    bodies: Sequence[bytes]
    expected: Sequence[Any]
    given: Callable[[int], Any]

    def __len__(self) -> int:
        return len(self.bodies)


def cases_of(data: pd.DataFrame | Sequence[Any], swagger: Mapping[str, Any], expect: str | None) -> Cases:
    """Return the cases from a DataFrame with a row for each case, or from a list of inputs as `services.run` takes
    them.

    Args:
        data: the inputs.
        swagger: the service's own description; names the argument that a row is for.
        expect: the column, or the key of each input, that holds the expected answer and is not sent. If it is missing
            in a row, no answer is expected.

    Raises:
        UsageError: the cases are empty, a column is missing, or an input cannot be written as JSON.
    """
    if not hasattr(data, "__len__") or isinstance(data, (str, bytes, dict)):
        raise UsageError(
            f"the cases are a {type(data).__name__}", field="cases", fix="Give a DataFrame or a list of inputs."
        )
    if not len(data):
        raise UsageError("the list of cases is empty", field="cases", fix="Give a DataFrame with a row for each case.")
    arguments = swagger_arguments(swagger)
    return _of_frame(data, arguments, expect) if hasattr(data, "iloc") else _of_list(data, arguments, expect)


def _of_frame(data: Any, arguments: Sequence[str] | None, expect: str | None) -> Cases:
    _check_column(data.columns, expect)
    inputs = data if expect is None else data.drop(columns=[expect])
    expected = [None] * len(data) if expect is None else [_expectation(value) for value in data[expect].tolist()]
    # All rows at once: converting them one at a time would create a frame for each row.
    whole = msgspec.json.decode(encode_input(inputs, arguments))
    bodies = (
        [msgspec.json.encode({name: [row]}) for name, rows in whole.items() for row in rows]
        if isinstance(whole, dict)
        else [msgspec.json.encode([row]) for row in whole]
    )
    return Cases(bodies, expected, lambda number: inputs.iloc[[number]])


def _check_column(columns: Any, expect: str | None) -> None:
    if expect is not None and expect not in columns:
        known = ", ".join(map(str, columns))
        raise UsageError(f"the cases have no column {expect!r}", field="expect", fix=f"They have: {known}.")
    if list(columns).count(expect) > 1:
        raise UsageError(f"the cases have two columns {expect!r}", field="expect", fix="Rename one of them.")


def _of_list(data: Sequence[Any], arguments: Sequence[str] | None, expect: str | None) -> Cases:
    inputs, expected = list(data), [None] * len(data)
    if expect is not None:
        for number, given in enumerate(data):
            if not isinstance(given, dict) or expect not in given:
                raise UsageError(
                    f"case {number} has no {expect!r}", field="expect", fix="Add the expected answer to each case."
                )
            inputs[number] = {name: value for name, value in given.items() if name != expect}
            expected[number] = _expectation(given[expect])
    return Cases([encode_input(given, arguments) for given in inputs], expected, inputs.__getitem__)


def _expectation(value: Any) -> Any:
    """Return an expected value in the form of an answer."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return as_json(value)
