"""The text of a generated driver: an ordinary `score.py`, as a person would write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlmgmt_nb.packaging.flavours import Call, SavedModel
from mlmgmt_nb.packaging.samples.sample import Sample

__all__ = ["SCHEMA", "driver_text"]

SCHEMA = "service_schema.json"
_LONGEST_LIST = 50
_STANDARD = ("import os", "import pickle", "import json", "from io import BytesIO")


def driver_text(title: str, saved: SavedModel, call: Call, facts: Mapping[str, Any]) -> str:
    """Return the text of a driver.

    Args:
        title: the model, such as `LogisticRegression (scikit-learn)`.
        saved: the statements that load and call the model.
        call: the method, and the arguments of `run`.
        facts: metadata of the model. The docstring of `run` lists its classes if `run` returns probabilities.
    """
    parts = [f'"""Serve a model: {title}."""', *_imports([*saved.imports, *call.sample.imports])]
    parts += ["\n".join(saved.constants)] if saved.constants else []
    body = "\n\n".join(part for part in parts if part)
    return "\n\n\n".join([body, _init(saved), _run(saved, call, facts)]) + "\n"


def _imports(lines: Iterable[str]) -> list[str]:
    """Return the import statements, standard library first."""
    ordered = sorted(set(lines), key=lambda line: (line.startswith("from "), line.split()[1], line))
    standard = [line for line in ordered if line in _STANDARD]
    other = [line for line in ordered if line not in _STANDARD]
    return ["\n".join(standard), "\n".join(other)]


def _init(saved: SavedModel) -> str:
    lines = ['"""Load the model, once, before the first request."""', f"global {saved.name}", *saved.load]
    return "\n".join(["def init():", *_indented(lines)])


def _run(saved: SavedModel, call: Call, facts: Mapping[str, Any]) -> str:
    lines = [f"Answer a request{_argument(call.sample)}."]
    if "classes" in facts and "proba" in (call.method or ""):
        lines += ["", f"The classes are, in this order: {', '.join(map(str, facts['classes']))}."]
    doc = [f'"""{lines[0]}"""'] if len(lines) == 1 else [f'"""{lines[0]}', *lines[1:], '"""']
    define = "async def" if any(" await " in line for line in saved.answer) else "def"
    return "\n".join([f"{define} run({call.sample.signature}):", *_indented([*doc, *saved.answer])])


def _argument(sample: Sample) -> str:
    """Describe a DataFrame argument for the docstring of `run`; "" for other arguments. The schema has the types."""
    if not sample.is_frame:
        return ""
    names = [str(name) for name in sample.value.columns]
    listed = ", ".join(names)
    is_short = len(listed) <= _LONGEST_LIST and listed.isprintable() and not set(listed) & set('"\\')
    columns = f"column{'s' * (len(names) != 1)}"
    columns = f"the {columns} {listed}" if is_short else f"{len(names)} {columns}, see {SCHEMA}"
    return f": `{sample.signature}` is a DataFrame with {columns}"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]
