"""Sphinx extensions of this site: generated parts of pages, and notebooks from a folder outside the site."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
from docutils import nodes
from generated import ROOT, filled
from sphinx.application import Sphinx

from mlmgmt_nb.contract.resources import Wire

NOTEBOOKS = Path(__file__).with_name("notebooks")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the hooks; called by Sphinx."""
    shutil.rmtree(NOTEBOOKS, ignore_errors=True)
    shutil.copytree(ROOT / "notebooks", NOTEBOOKS)
    app.connect("source-read", _fill)
    app.connect("doctree-read", _draw_dashes)
    app.connect("autodoc-process-signature", _leave_out)
    app.connect("autodoc-process-docstring", _add_fields, priority=400)  # before napoleon reads the sections
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(_app: Sphinx, page: str, content: list[str]) -> None:
    # On a forge the notebooks are beside the folder of the site; Sphinx reads them from a copy within it.
    up = "../" * page.count("/")
    content[0] = filled(content[0]).replace(f"](../{up}notebooks/", f"]({up}notebooks/")


def _draw_dashes(_app: Sphinx, page: nodes.document) -> None:
    """Replace two hyphens between a parameter and its description with a dash; `smartquotes` is off."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def _leave_out(
    _app: Sphinx, what: str, _name: str, thing: Any, _options: Any, signature: str, returns: str
) -> tuple[str, str]:
    """Omit the constructor arguments of classes that users do not create."""
    is_made = re.search(r"^ *(Args|Attributes|Keys):", thing.__doc__ or "", re.MULTILINE)
    if what == "exception" or (what == "class" and (issubclass(thing, Wire) or not is_made)):
        return "", ""
    return signature, returns


def _add_fields(_app: Sphinx, what: str, _name: str, thing: Any, _options: Any, lines: list[str]) -> None:
    """Document the fields of contract types from their annotations."""
    if what != "class" or not issubclass(thing, Wire):
        return
    (schema,), known = msgspec.json.schema_components([thing], ref_template="{name}")
    properties = known.get(thing.__name__, schema).get("properties", {})
    described = []
    for field in msgspec.structs.fields(thing):
        about = properties[field.encode_name].get("description", "")
        is_word = about[1:2].islower()  # not an abbreviation
        described.append(f"    {field.name}: {about[:1].lower() + about[1:] if is_word else about}")
    lines += ["", "Attributes:", *described, ""]
