"""The `internal` part of a 2017 schema file: a pickle, in Base64, of one object of `azureml.api.schema`.

The unpickler allows only a handful of harmless names and refuses all others, so a schema file cannot run code. Writing
does not need the original package: the few opcodes that name the class are put around the pickled attributes.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from mlmgmt_nb.scoring.schema.types import SchemaError, UnknownTypeError

__all__ = ["IgnoredDtype", "read_internal", "write_internal"]

_PROTOCOL = 2
_BUILTINS = {
    "int",
    "float",
    "bool",
    "str",
    "list",
    "dict",
    "tuple",
    "object",
    "bytes",
    "bytearray",
    "complex",
    "set",
    "frozenset",
    "range",
}
_TIMES = {"datetime", "date", "time", "timedelta"}
_PYTHON2_NAMES = {"unicode": "str", "long": "int", "basestring": "str"}
_SCHEMA_CLASSES = {"PandasSchema", "NumpySchema", "PythonSchema", "SparkSchema"}


class _Pickled:
    """A stand-in for an object of the original package, with its class name and attributes."""

    kind = ""

    def __init__(self, *_: Any) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = dict(state)


class _ForbiddenNameError(pickle.UnpicklingError):
    """The pickle is complete, but it names a type that a schema cannot contain."""


class IgnoredDtype:
    """A stand-in for a data type of pandas, which is not rebuilt: the swagger part then describes the columns."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Decode bytes as protocol 2 writes them, `_codecs.encode(text, "latin1")`; refuse other codecs."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


def _index_values(_: Any, state: dict[str, Any]) -> Any:
    """Return the array of an Index, which pandas pickles as (class, {"data": array, "name": ...})."""
    return list(state["data"])


class _SchemaUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__"):
            name = _PYTHON2_NAMES.get(name, name)
            if name in _BUILTINS:
                return getattr(__import__("builtins"), name)
        if module.startswith("azureml.api.schema.") and name in _SCHEMA_CLASSES:
            return type(name, (_Pickled,), {"kind": name})
        if module.startswith("numpy"):
            return _numpy_name(module, name)
        if module.startswith("pandas."):
            return _index_values if name == "_new_Index" else IgnoredDtype
        if module == "datetime" and name in _TIMES:
            return getattr(__import__("datetime"), name)
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) == ("copyreg", "_reconstructor") or (module, name) == ("copy_reg", "_reconstructor"):
            return _reconstruct_object
        raise _ForbiddenNameError(f"{module}.{name} is not allowed in a schema")


def _reconstruct_object(kind: Any, _base: Any = None, _state: Any = None) -> Any:
    if not issubclass(kind, (_Pickled, IgnoredDtype)):
        raise pickle.UnpicklingError(f"{kind!r} is not allowed in a schema")
    return kind()


def _numpy_name(module: str, name: str) -> Any:
    import numpy as np

    known: dict[str, Callable[..., Any]] = {"dtype": np.dtype, "ndarray": np.ndarray, "_reconstruct": _empty_array}
    if name in known:
        return known[name]
    scalar = getattr(np, name, None)
    if isinstance(scalar, type) and issubclass(scalar, np.generic):
        return scalar
    raise _ForbiddenNameError(f"{module}.{name} is not allowed in a schema")


def _empty_array(*_: Any) -> Any:
    """Return an empty array, as NumPy's `_reconstruct` does, for the pickle to fill."""
    import numpy as np

    return np.empty(0, dtype="b")


def read_internal(text: str) -> tuple[str, dict[str, Any]]:
    """Return the class name (`PandasSchema`, ...) and attributes of a pickled schema.

    Raises:
        UnknownTypeError: the pickle contains a name that is not allowed.
        SchemaError: the text is not Base64 or not a pickle.
    """
    try:
        read = _SchemaUnpickler(io.BytesIO(base64.b64decode(text, validate=True))).load()
    except _ForbiddenNameError as error:
        raise UnknownTypeError(f"internal: {error}") from error
    except (binascii.Error, pickle.UnpicklingError) as error:
        raise SchemaError(f"internal: {error}") from error
    except Exception as error:  # a broken pickle may raise anything
        raise SchemaError(f"internal: not a pickled schema ({type(error).__name__}: {error})") from error
    if not isinstance(read, _Pickled):
        raise SchemaError(f"internal: expected a pickled schema, got {type(read).__name__}")
    return read.kind, read.attributes


def write_internal(module: str, name: str, attributes: dict[str, Any]) -> str:
    """Return the text for `read_internal` and for the original package.

    Args:
        module: module of the class, such as `azureml.api.schema.pandasUtil`.
        name: name of the class.
        attributes: its attributes: plain values and NumPy data types.
    """
    head = bytes([0x80, _PROTOCOL])
    class_name = f"c{module}\n{name}\n".encode()
    new_object = b")\x81"  # cls.__new__(cls)
    state = pickle.dumps(attributes, _PROTOCOL)[len(head) : -1]
    return base64.b64encode(head + class_name + new_object + state + b"b.").decode()
