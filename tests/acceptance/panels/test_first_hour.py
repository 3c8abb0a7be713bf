"""The first hour of a new user, once, in one look."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.acceptance.first_hour import LOOKS, new_user, walk_through
from tests.support.searches import long_search


@pytest.mark.timeout(600)
@long_search
def test_the_first_hour(browser: Browser, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with new_user(browser, tmp_path, LOOKS[:1], pictures) as walk:
        walk_through(walk)
