"""The text of a generated driver: an ordinary `score.py`, as a person would write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlmgmt_nb.packaging.flavours import SavedModel
from mlmgmt_nb.packaging.sample import Sample

__all__ = ["driver_text"]

_STANDARD = ("import os", "import pickle", "import json", "from io import BytesIO")


def driver_text(title: str, saved: SavedModel, sample: Sample, facts: Mapping[str, Any]) -> str:
    """Return the text of a driver.

    Args:
        title: the model, such as `LogisticRegression (scikit-learn)`.
        saved: how the model is loaded and called.
        sample: the arguments of `run`.
        facts: metadata of the model; its classes are named in the docstring.
    """
    parts = [f'"""Serve a model: {title}."""', *_imports([*saved.imports, *sample.imports])]
    parts += ["\n".join(saved.constants)] if saved.constants else []
    body = "\n\n".join(part for part in parts if part)
    return "\n\n\n".join([body, _init(saved), _run(saved, sample, facts)]) + "\n"


def _imports(lines: Iterable[str]) -> list[str]:
    """Return the import statements, standard library first."""
    ordered = sorted(set(lines), key=lambda line: (line.startswith("from "), line.split()[1], line))
    standard = [line for line in ordered if line in _STANDARD]
    other = [line for line in ordered if line not in _STANDARD]
    return ["\n".join(standard), "\n".join(other)]


def _init(saved: SavedModel) -> str:
    lines = ['"""Load the model, once, before the first request."""', "global model", *saved.load]
    return "\n".join(["def init():", *_indented(lines)])


def _run(saved: SavedModel, sample: Sample, facts: Mapping[str, Any]) -> str:
    lines = ["Answer a request."]
    if "classes" in facts and "proba" in " ".join(saved.answer):
        lines += ["", f"The classes are, in this order: {', '.join(map(str, facts['classes']))}."]
    doc = [f'"""{lines[0]}"""'] if len(lines) == 1 else [f'"""{lines[0]}', *lines[1:], '"""']
    return "\n".join([f"def run({sample.signature}):", *_indented([*doc, *saved.answer])])


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]
