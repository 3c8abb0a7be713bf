"""The pictures of the README and the documentation are those that `tests.support.screenshots` takes, and no others."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from tests.support.screenshots import FOLDER, PICTURES, WIDTH

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(page for page in (ROOT / ".docs").rglob("*.md") if "_build" not in page.parts)]


def test_each_picture_that_is_shown_is_taken_by_the_script_and_each_that_is_taken_is_shown() -> None:
    shown = {name for page in PAGES for name in re.findall(r"\]\([./\w-]*pictures/([\w-]+)\.png\)", page.read_text())}
    assert shown == set(PICTURES)
    assert {path.stem for path in FOLDER.glob("*.png")} == set(PICTURES)


def test_they_have_one_width() -> None:
    widths = {path.name: struct.unpack(">I", path.read_bytes()[16:20])[0] for path in FOLDER.glob("*.png")}
    assert set(widths.values()) == {WIDTH}, widths
