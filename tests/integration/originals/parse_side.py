"""Parse the table of inputs: with the original packages, or with ours. Standard input has the table, standard output
the outcome of each row: `{"value": ...}`, or `{"refused": message}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PREAMBLE = """
import datetime
import numpy as np
import pandas as pd
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType as Std
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType as Np
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType as Pd
"""


def describe(value: Any) -> Any:
    """Return a description of a value that can be compared: type, data type, shape, and each value."""
    kind = type(value)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    if name == "pandas.DataFrame":
        return {
            "is": name,
            "columns": [repr(column) for column in value.columns],
            "types": [str(dtype) for dtype in value.dtypes],
            "index": [repr(label) for label in value.index.tolist()],
            "rows": [[repr(cell) for cell in value[column].tolist()] for column in value.columns],
        }
    if name == "numpy.ndarray":
        return {"is": name, "type": str(value.dtype), "shape": list(value.shape), "values": repr(value.tolist())}
    if kind is dict:
        return {"is": name, "members": {key: describe(member) for key, member in value.items()}}
    if kind in (list, tuple):
        return {"is": name, "items": [describe(item) for item in value]}
    return {"is": name, "value": repr(value)}


def make_run(source: str, place: int) -> Callable[..., Any]:
    """Return the function `run` that a source declares. Each has a module of its own: the original keeps its types by
    the names of module and function.
    """
    names: dict[str, Any] = {"__name__": f"table_{place}", "describe": describe}
    exec(compile(PREAMBLE + source, f"<table {place}>", "exec"), names)
    run: Callable[..., Any] = names["run"]
    return run


def original_answer(run: Callable[..., Any], body: str) -> Any:
    """Return the outcome of `azureml-inference-server-http`: its own parser and call."""
    import flask  # type: ignore[import-not-found]
    from azureml_inference_server_http.server.user_script import (  # type: ignore[import-not-found]
        UserScript,
    )
    from werkzeug.test import EnvironBuilder

    script = UserScript()
    script._user_run = run
    script._analyze_run()
    builder = EnvironBuilder(method="POST", data=body, content_type="application/json")
    return script.invoke_run(flask.Request(builder.get_environ()), timeout_ms=20_000).output


def our_answer(run: Callable[..., Any], body: str) -> Any:
    """Return the outcome of our runtime."""
    from mlmgmt_nb.scoring.application.application import Application
    from mlmgmt_nb.scoring.driver import loading

    driver = loading._bind(run, Application(Path("."), Path("score.py"), None))
    answer = driver.answer(body.encode())
    assert isinstance(answer, bytes)
    return json.loads(answer)


def outcome(answer: Callable[..., Any], source: str, place: int, body: str) -> dict[str, Any]:
    """Return what becomes of a body."""
    try:
        return {"value": answer(make_run(source, place), body)}
    except Exception as error:  # noqa: BLE001 - whatever either side does
        return {"refused": f"{type(error).__name__}: {getattr(error, 'user_ex', error)}"}


def main(side: str) -> None:
    """Read the table, and print the outcomes."""
    if side == "ours":
        from mlmgmt_nb.scoring import compat

        compat.install()
        import inference_schema  # type: ignore[import-not-found]

        assert compat.is_ours(inference_schema)
    answer = our_answer if side == "ours" else original_answer
    outcomes: dict[str, Any] = {}
    for group in json.load(sys.stdin):
        for row, body in group["rows"].items():
            outcomes[row] = outcome(answer, group["source"], len(outcomes), body)
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
