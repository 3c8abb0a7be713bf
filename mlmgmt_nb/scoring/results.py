"""What `run` returned, as JSON.

NumPy and pandas are never imported here: a result of theirs can only exist when the driver has imported them.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from mlmgmt_nb.scoring.errors import RequestError

__all__ = ["encode_result", "encode_value"]


class _NoJsonFormError(TypeError):
    """A value cannot be written; the text names its type."""


_RAW_DECODER = msgspec.json.Decoder(msgspec.Raw)


def encode_result(result: Any) -> bytes:
    """A result as JSON.

    Text (and UTF-8 bytes) that is JSON already goes out as it is, other text as a JSON string. NaN and infinity become
    null. DataFrames, also those of Spark, become a list of records (the index is left out), Series, arrays and vectors
    lists, dates ISO 8601, other bytes Base64.

    Raises:
        RequestError: 500 `ResultError`, when the result cannot be written as JSON; names the type.
    """
    if type(result) is bytes:
        result = _decode_bytes(result)
    if isinstance(result, str):
        return _encode_text(result)
    return encode_value(result)


def encode_value(value: Any) -> bytes:
    """Like `encode_result`, but text is always a JSON string."""
    try:
        return _ENCODER.encode(value)
    except RecursionError:
        raise _result_error("a structure that contains itself or is nested too deeply") from None
    except UnicodeEncodeError:
        raise _result_error("text with a lone surrogate, which UTF-8 cannot express") from None
    except (TypeError, ValueError, OverflowError):
        return _encode_slowly(value)


def _to_plain(value: Any) -> Any:
    """A value that msgspec does not know, as dicts, lists, text and numbers.

    Raises:
        _NoJsonFormError: the type has none; perhaps it is a key, then `_encode_slowly` finds a way.
    """
    for module, convert in (("pandas", _plain_pandas), ("numpy", _plain_numpy), ("pyspark", _plain_spark)):
        if module in sys.modules:
            plain = convert(value)
            if plain is not NotImplemented:
                return plain
    return _plain_standard(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_to_plain, decimal_format="number")


def _result_error(what: str) -> RequestError:
    return RequestError(
        500, "ResultError", f"run() returned {what}. Return text, numbers, lists, dicts, NumPy or pandas data."
    )


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _encode_text(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _result_error("text with a lone surrogate, which UTF-8 cannot express") from None
    try:
        _RAW_DECODER.decode(data)
    except msgspec.DecodeError:
        # json.dumps() writes NaN and Infinity, which are not JSON; json.loads() reads them.
        if "NaN" in text or "Infinity" in text:
            try:
                return _ENCODER.encode(json.loads(text))
            except ValueError:
                pass
        return _ENCODER.encode(text)
    return data


def _decode_bytes(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def _encode_slowly(result: Any) -> bytes:
    """For what msgspec does not encode: keys of other types and the like."""
    try:
        return _ENCODER.encode(_normalise(result))
    except RecursionError:
        raise _result_error("a structure that contains itself or is nested too deeply") from None
    except _NoJsonFormError as error:
        raise _result_error(str(error)) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise _result_error(f"{_type_name(result)}, which has no JSON form ({error})") from error


def _normalise(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _normalise(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_normalise(item) for item in value]
    return value


def _key(key: Any) -> Any:
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, (str, int, float)):
        return key if type(key) in (str, int, float) else str(key)
    try:
        plain = _to_plain(key)
    except _NoJsonFormError:
        return str(key)
    return plain if isinstance(plain, (str, int, float)) else str(key)


def _plain_standard(value: Any) -> Any:
    if type(value).__module__ == "builtins" and not isinstance(value, range):
        # msgspec knows these as values: this one is a key
        raise _NoJsonFormError(f"{_type_name(value)}, which has no JSON form")
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return list(value)
    raise _NoJsonFormError(f"{_type_name(value)}, which has no JSON form")


def _plain_numpy(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        if value.dtype.kind == "c":
            raise _NoJsonFormError("an array of complex numbers, which have no JSON form")
        if value.dtype.names:
            names = value.dtype.names
            return [dict(zip(names, row, strict=True)) for row in value.ravel().tolist()]
        if value.dtype.kind == "S":
            with suppress(UnicodeDecodeError):
                return np.char.decode(value, "utf-8").tolist()
        return _dates(value).tolist() if value.dtype.kind in "mM" else value.tolist()
    if isinstance(value, np.generic):
        return _plain_scalar(value)
    if isinstance(value, np.dtype):
        return str(value)
    return NotImplemented


def _plain_scalar(value: Any) -> Any:
    import numpy as np

    if isinstance(value, (np.datetime64, np.timedelta64)):
        return _dates(np.asarray(value)).item()
    if isinstance(value, np.complexfloating):
        raise _NoJsonFormError("a complex number, which has no JSON form")
    if isinstance(value, np.void):
        return value.tolist()
    plain = value.item()
    # long double has no Python equal: item() gives itself back
    return float(plain) if isinstance(plain, np.generic) else plain


def _dates(array: Any) -> Any:
    """datetime64 as ISO 8601 text, timedelta64 as seconds; not-a-time as None."""
    import numpy as np

    if array.dtype.kind == "M":
        text = np.datetime_as_string(array).astype(object)
    else:
        text = (array / np.timedelta64(1, "s")).astype(object)
    text = np.asarray(text, dtype=object)
    text[np.isnat(array)] = None
    return text


def _plain_spark(value: Any) -> Any:
    if not type(value).__module__.startswith("pyspark."):
        return NotImplemented
    if hasattr(value, "collect") and hasattr(value, "schema"):
        return [row.asDict(recursive=True) for row in value.collect()]
    return value.toArray().tolist() if hasattr(value, "toArray") else NotImplemented  # a vector of pyspark.ml


def _plain_pandas(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return _records(value)
    if isinstance(value, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        return _column(pd.Series(value))
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, pd.Timedelta):
        return value.total_seconds()
    if isinstance(value, (pd.Period, pd.Interval)):
        return str(value)
    return NotImplemented


def _records(frame: Any) -> list[dict[Any, Any]]:
    names = [_key(name) for name in frame.columns]
    if len(set(map(str, names))) != len(names):
        raise _NoJsonFormError("a DataFrame with two columns of the same name")
    columns = [_column(frame.iloc[:, place]) for place in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _column(series: Any) -> list[Any]:
    import numpy as np

    values: list[Any] = series.tolist()
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iubf":
        return values
    missing = series.isna().tolist()
    return [None if gone else item for item, gone in zip(values, missing, strict=True)]
