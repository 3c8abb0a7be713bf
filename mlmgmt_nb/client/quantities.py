"""Ages and sizes as users write them: `7d`, `100MB`."""

from __future__ import annotations

import datetime as dt
import re

from mlmgmt_nb.errors import UsageError

__all__ = ["bytes_of", "seconds_of"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_LARGEST = 1e100
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")


def seconds_of(given: object, field: str) -> int:
    """Return the seconds of an age: a number of seconds, a `timedelta`, or text such as `90s`, `12h` or `7d`.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(given, dt.timedelta):
        return round(given.total_seconds())
    number, unit = _parts(given)
    factor = _SECONDS.get(unit.lower() or "s")
    if number is None or factor is None:
        raise UsageError(f"{field}: {given!r} is not an age", field=field, fix="Give an age such as 90s, 12h or 7d.")
    return round(number * factor)


def bytes_of(given: object, field: str) -> int:
    """Return the bytes of a size: a number of bytes, or text such as `500KB` or `100MB`.

    Raises:
        UsageError: it is something else.
    """
    number, unit = _parts(given)
    factor = _BYTES.get(unit.upper())
    if number is None or factor is None:
        raise UsageError(f"{field}: {given!r} is not a size", field=field, fix="Give a size such as 100MB or 1GB.")
    return round(number * factor)


def _parts(given: object) -> tuple[float | None, str]:
    """Return the number and the unit; None if the value is neither a number nor text with a number and a unit, or if
    the number is infinite or too large.
    """
    number, unit = given, ""
    if isinstance(given, str) and (found := _QUANTITY.fullmatch(given.strip())):
        number, unit = float(found[1]), found[2]
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not -_LARGEST < number < _LARGEST:
        return None, ""
    return float(number), unit
