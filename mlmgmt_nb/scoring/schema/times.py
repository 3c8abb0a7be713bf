"""Dates and time spans from JSON: exact in the unit of their data type, or refused.

NumPy silently overflows and truncates, so counts are computed with Python integers here. Fractions below a microsecond
are the exception: units without them drop them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from mlmgmt_nb.scoring.schema.types import UnitError

__all__ = ["rounded", "span_seconds", "to_dates", "to_spans"]

_DATE = re.compile(
    r"(?P<year>-\d{3,9}|\+\d{4,9}|\d{4}|\d{5,9}(?=-))(?:-(?P<month>\d\d)(?:-(?P<day>\d\d))?|(?P<month_day>\d{4}))?"
    r"(?:[T ](?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"(?: ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?))?)?"
)
_ISO_SPAN = re.compile(
    r"(?P<sign>[+-])?P(?=.)(?:(?P<W>\d+)W)?(?:(?P<D>\d+)D)?"
    r"(?:T(?=.)(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:[.,]\d+)?)S)?)?"
)
_MONTHS_IN_ISO = re.compile(r"[+-]?P[^T]*[MY]")
_WORDS = re.compile(r"(?P<count>[+-]?\d+)\s+(?P<unit>[A-Za-z]+)")
_UNITS = {
    "W": ("week", Fraction(604800)),
    "D": ("day", Fraction(86400)),
    "h": ("hour", Fraction(3600)),
    "m": ("minute", Fraction(60)),
    "s": ("second", Fraction(1)),
    "ms": ("millisecond", Fraction(1, 10**3)),
    "us": ("microsecond", Fraction(1, 10**6)),
    "ns": ("nanosecond", Fraction(1, 10**9)),
    "ps": ("picosecond", Fraction(1, 10**12)),
    "fs": ("femtosecond", Fraction(1, 10**15)),
    "as": ("attosecond", Fraction(1, 10**18)),
}
_SECONDS = {unit: seconds for unit, (_, seconds) in _UNITS.items()}
_BY_WORD = dict(_UNITS.values())
_MONTHS = {"M": 1, "Y": 12}
_MONTHS_BY_WORD = {"month": 1, "year": 12}
_PLACES = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DIGITS = {"ns": 9, "ps": 12, "fs": 15, "as": 18}
_LARGEST = 2**63 - 1  # the smallest integer is not-a-time


def to_dates(values: Sequence[str | int | None], unit: str, step: int = 1) -> Any:
    """Return an array of datetime64 in UTC.

    Args:
        values: ISO 8601 text (without a zone: UTC), milliseconds since 1970, or None.
        unit: NumPy's letters for the unit.
        step: number of units per count.

    Raises:
        ValueError: a value is not a date, is out of range, or is finer than the unit.
    """
    parts = [_parts_of_date(value, _DIGITS.get(unit, 6)) for value in values]
    moments = np.array([moment for moment, _, _ in parts], dtype="datetime64[s]").astype("int64").tolist()
    made = [
        None if moment is None else _date_count(seconds - offset, fraction, unit, step)
        for seconds, (moment, offset, fraction) in zip(moments, parts, strict=True)
    ]
    return _array(made, f"datetime64[{step}{unit}]")


def to_spans(values: Sequence[str | float | None], unit: str, step: int = 1) -> Any:
    """Return an array of timedelta64.

    Args:
        values: text (ISO 8601, `2 weeks`, or as pandas writes it), seconds, or None.
        unit: NumPy's letters for the unit.
        step: number of units per count.

    Raises:
        ValueError: a value is not a time span, is out of range, or is finer than the unit.
    """
    made = [None if value is None else _span_count(value, unit, step) for value in values]
    return _array(made, f"timedelta64[{step}{unit}]")


def _array(counts: Sequence[int | None], dtype: str) -> Any:
    return np.array([-_LARGEST - 1 if count is None else count for count in counts], dtype="int64").astype(dtype)


def _date_count(seconds: int, fraction: str, unit: str, step: int) -> int:
    places, name = _PLACES.get(unit), f"datetime64[{unit}]"
    if places is not None and step == 1 and len(fraction) <= places:  # the common case, without slow fractions
        return _in_range(seconds * 10**places + int(fraction.ljust(places, "0") or 0), name)
    amount = seconds + Fraction(int(fraction or 0), 10 ** len(fraction))
    if unit in _MONTHS:
        return _whole(_months_of_date(amount), Fraction(_MONTHS[unit] * step), name)
    return _whole(amount, _SECONDS[unit] * step, name)


def _parts_of_date(value: str | int | None, digits: int) -> tuple[str | int | None, int, str]:
    """Return a time in whole seconds as NumPy text, the offset of its zone in seconds, and its fractional digits."""
    if value is None:
        return None, 0, ""
    if isinstance(value, int):
        return value // 1000, 0, f"{value % 1000:03}"
    match = _DATE.fullmatch(value)
    if match is None:
        raise ValueError("not ISO 8601")
    year, month, day, month_day, hour, minute, second, fraction, zone = match.groups()
    if month_day:
        month, day = month_day[:2], month_day[2:]
    moment = f"{year.removeprefix('+')}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    return moment, _offset(zone) if zone and zone != "Z" else 0, (fraction or "")[:digits]


def _offset(zone: str) -> int:
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (-1 if zone[0] == "-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def _months_of_date(seconds: Fraction) -> Fraction:
    moment = np.datetime64(int(seconds), "s")
    months = moment.astype("datetime64[M]")
    if months.astype("datetime64[s]") != moment or seconds.denominator != 1:
        raise UnitError("not the first moment of a month")
    return Fraction(int(months.astype("int64")))


def _span_count(value: str | float, unit: str, step: int) -> int:
    name = f"timedelta64[{unit}]"
    if isinstance(value, str) and (words := _WORDS.fullmatch(value.strip())):
        word = words["unit"].lower().removesuffix("s")
        if word in _MONTHS_BY_WORD:
            if unit not in _MONTHS:
                raise UnitError(f"not of a fixed length in {name}")
            months = int(words["count"]) * _MONTHS_BY_WORD[word]
            return _whole(Fraction(months), Fraction(_MONTHS[unit] * step), name)
    if unit in _MONTHS:
        raise UnitError(f"not of the form '3 months' or '1 years', which {name} needs")
    seconds = span_seconds(value.strip()) if isinstance(value, str) else Fraction(Decimal(repr(value)))
    return _whole(rounded(seconds, _DIGITS.get(unit, 6)), _SECONDS[unit] * step, name)


def rounded(seconds: Fraction, digits: int) -> Fraction:
    """Return seconds rounded to a number of decimal digits; a time span that would become zero is refused."""
    result = round(seconds, digits)
    if seconds and not result:
        raise UnitError("too short: give a unit, such as '1 day'")
    return result


def span_seconds(text: str) -> Fraction:
    """Return the seconds of a time span in text form; raise ValueError if it is malformed."""
    if (words := _WORDS.fullmatch(text)) and (seconds := _BY_WORD.get(words["unit"].lower().removesuffix("s"))):
        return int(words["count"]) * seconds
    if match := _ISO_SPAN.fullmatch(text):
        part = match.groupdict()
        sign = -1 if part.pop("sign") == "-" else 1
        return sign * sum(
            (Fraction(number.replace(",", ".")) * _SECONDS[unit] for unit, number in part.items() if number), Fraction()
        )
    if _MONTHS_IN_ISO.match(text):  # pandas reads them as minutes
        raise UnitError("not of a fixed length: months and years have different lengths")
    import pandas as pd

    span = pd.Timedelta(text)
    if pd.isna(span):
        raise ValueError("not a time span")
    whole = span.days * 86400 + span.seconds
    return whole + Fraction(span.microseconds * 1000 + span.nanoseconds, 10**9)


def _whole(amount: Fraction, unit: Fraction, name: str) -> int:
    """Return an amount as a whole number of units."""
    count = amount / unit
    if count.denominator != 1:
        raise UnitError(f"not a whole number of its unit {name}")
    return _in_range(int(count), name)


def _in_range(count: int, name: str) -> int:
    if abs(count) > _LARGEST:
        raise UnitError(f"outside the range of {name}")
    return count
