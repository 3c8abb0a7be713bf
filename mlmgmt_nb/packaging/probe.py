"""Run in a fresh process: load an application folder as a service does, answer a request, and report the imports.

`python -P probe.py ORDER RESULT`: ORDER is a JSON file with the folder, the path of the request's body, and the hidden
top-level modules, which the process cannot import, as if they were not installed. RESULT gets the outcome as JSON.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["main"]


class _HidingFinder:
    """A module finder that hides some modules.

    Args:
        finder: the finder for all other modules.
        hidden: top-level modules.
    """

    def __init__(self, finder: Any, hidden: frozenset[str]) -> None:
        self._finder = finder
        self._hidden = hidden

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in self._hidden:
            return None
        found: ModuleSpec | None = self._finder.find_spec(name, path, target)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


def main(order_file: str, result_file: str) -> None:
    """Load the folder, answer the request, and write the outcome."""
    from mlmgmt_nb.scoring.application.application import find_application
    from mlmgmt_nb.scoring.driver.loading import load_driver
    from mlmgmt_nb.scoring.errors import LoadError, RequestError

    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    body = Path(order["body"]).read_bytes()
    before = set(sys.modules)
    hidden = frozenset(order["hidden"]) - {name.partition(".")[0] for name in before}
    sys.meta_path[:] = [_HidingFinder(finder, hidden) for finder in sys.meta_path]
    outcome: dict[str, Any] = {}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            driver = load_driver(find_application(order["folder"], driver="score.py"))
        outcome["warnings"] = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
        if body:
            answer = driver.answer(body)
            assert isinstance(answer, bytes)
            outcome["answer"] = json.loads(answer)
    except (LoadError, RequestError) as error:
        outcome["error"] = _described(error)
    outcome["modules"] = {
        name: module.__file__
        for name, module in list(sys.modules.items())
        if name not in before and getattr(module, "__file__", None)
    }
    Path(result_file).write_text(json.dumps(outcome), encoding="utf-8")


def _described(error: BaseException) -> dict[str, Any]:
    chain = list(_chain(error))
    missing = [found.name for found in chain if isinstance(found, ImportError) and found.name]
    trace = getattr(error, "trace", "") or "".join(traceback.format_exception(error.__cause__ or error))
    return {"message": str(error), "missing": missing, "trace": trace}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    main(*sys.argv[1:])
