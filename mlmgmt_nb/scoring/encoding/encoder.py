"""Write values as JSON: results of `run`, samples of schemas, and requests of the client.

There is one encoder for all of them, so that a value looks the same whichever side writes it.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from mlmgmt_nb.scoring.encoding.builtins import is_plain, to_builtins
from mlmgmt_nb.scoring.encoding.walk import ENCODER, JsonFormError
from mlmgmt_nb.scoring.errors import RequestError

__all__ = ["JsonFormError", "encode_json", "encode_result", "encode_value"]

_RAW_DECODER = msgspec.json.Decoder(msgspec.Raw)


def encode_json(value: Any) -> bytes:
    """Return a value as JSON; text is always a JSON string.

    NaN, infinity and missing values become null. DataFrames, also those of Spark, become a list of records (the index
    is left out), Series, arrays, sets and vectors lists, dates ISO 8601, spans of NumPy and pandas seconds (ISO 8601
    where a double cannot hold them), enums their values, dataclasses objects, bytes Base64.

    Raises:
        JsonFormError: a part has no JSON form, or two keys of an object are the same text.
    """
    try:
        data = ENCODER.encode(value)
        if is_plain(value):  # checked first, because a value that contains itself has no end
            return data
    except (TypeError, ValueError, RecursionError):
        pass  # the slower way converts more, and names the path of the value at fault
    plain = to_builtins(value)
    try:
        return ENCODER.encode(plain)
    except ValueError:  # of the text, or of an integer
        raise _unwritable(plain) from None
    except RecursionError:
        raise JsonFormError("a structure that is nested too deeply") from None


def encode_result(result: Any) -> bytes:
    """Return what `run` returned, as JSON.

    Text (and UTF-8 bytes) that is JSON already is sent unchanged, other text as a JSON string; other bytes are Base64,
    and all other values are written as by `encode_json`.

    Raises:
        RequestError: 500 `ResultError`, the result cannot be written as JSON; the message names the type and its path.
    """
    if type(result) is bytes:
        result = _decode_bytes(result)
    if isinstance(result, str):
        return _encode_text(str.__str__(result))
    return encode_value(result)


def encode_value(value: Any) -> bytes:
    """Return the same as `encode_result`, but text is always a JSON string."""
    try:
        return encode_json(value)
    except JsonFormError as error:
        raise _result_error(error) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise _result_error(JsonFormError(f"{type(value).__qualname__}, which has no JSON form ({error})")) from error


def _result_error(error: JsonFormError) -> RequestError:
    place = error.at("result")
    where = f" (at {place})" if place else ""
    fix = error.fix or "Return text, numbers, lists, dicts, NumPy or pandas data."
    return RequestError(500, "ResultError", f"run() returned {error.problem}{where}. {fix}")


def _encode_text(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _result_error(_unwritable(text)) from None
    try:
        _RAW_DECODER.decode(data)
    except RecursionError:
        raise _result_error(JsonFormError("JSON text that is nested too deeply")) from None
    except msgspec.DecodeError:
        return _encode_text_like_json(text)
    return data


def _encode_text_like_json(text: str) -> bytes:
    """Refuse NaN and Infinity, which json.dumps() writes and json.loads() reads although they are not JSON."""
    if "NaN" in text or "Infinity" in text:
        try:
            return ENCODER.encode(json.loads(text))
        except (ValueError, RecursionError):
            pass
    return ENCODER.encode(text)


def _decode_bytes(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def _unwritable(plain: Any) -> JsonFormError:
    """Return the error for a text or number that the encoder does not write."""
    for problem, matches in _UNWRITABLE:
        if (path := _path_to(plain, matches)) is not None:
            error = JsonFormError(problem)
            error.path = path
            return error
    return JsonFormError("a value that the encoder does not write")


def _path_to(value: Any, matches: Callable[[Any], bool]) -> str | None:
    """Return the path of the first part that matches."""
    if isinstance(value, dict):
        if any(map(matches, value)):
            return ""
        parts = [(f".{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"[{place}]", item) for place, item in enumerate(value)]
    else:
        return "" if matches(value) else None
    inner = ((step, _path_to(item, matches)) for step, item in parts)
    return next((step + path for step, path in inner if path is not None), None)


def _has_surrogate(value: Any) -> bool:
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_too_long(value: Any) -> bool:
    # a decimal digit takes log2(10) = 3.32 bits
    return isinstance(value, int) and value.bit_length() > 3.32 * sys.get_int_max_str_digits() > 0


_UNWRITABLE: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("text with a lone surrogate, which UTF-8 cannot express", _has_surrogate),
    ("an integer with too many digits", _is_too_long),
)
