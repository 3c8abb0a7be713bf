"""One JupyterLab, one embedded service and one browser for all tests of panels."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mlmgmt_nb import local
from tests.acceptance.panels.kernels import VERSIONS
from tests.acceptance.panels.lab import CHROMIUM_ARGUMENTS, Lab, Notebook, Voila
from tests.support.components import missing
from tests.support.waiting import DEADLINE

expect.set_options(timeout=DEADLINE * 1000)  # 5 seconds otherwise, which a machine under load needs for itself

_FAILED = pytest.StashKey[bool]()
"""Whether a phase of a test failed: its page may be in any state."""


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, whose kernels find an embedded service of the tests' own."""
    folder = tmp_path_factory.mktemp("lab")
    home = folder / "home"
    local.ensure(home)
    lab = Lab(folder, {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(folder / "config.toml")})
    yield lab
    lab.stop()
    local.stop(home)


@pytest.fixture(scope="package")
def voila(lab: Lab) -> Iterator[Voila]:
    """Voila, beside JupyterLab: `lab.write` writes notebooks for it too."""
    voila = Voila(lab)
    yield voila
    voila.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. One for this folder: Playwright has an event loop run in this thread, which other tests cannot bear."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        missing("Chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(params=[f"ipykernel-{version}" for version in VERSIONS])
def kernel_name(request: pytest.FixtureRequest) -> str:
    """Return the kernel spec of each version in turn."""
    return str(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture(scope="package")
def pages(browser: Browser) -> list[Page]:
    """Return the pages of JupyterLab that tests left in order, for the next notebook: a page takes seconds to load."""
    return []


@pytest.fixture
def open_notebook(
    lab: Lab, browser: Browser, pages: list[Page], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Write a notebook of some cells, open it, and close it and its kernel when the test ends.

    With `own_page`, no other test gets its page: after the test did something to it that lasts.
    """
    opened: list[tuple[Notebook, bool]] = []

    def open_(cells: list[str], *, theme: str = "light", own_page: bool = False, **options: Any) -> Notebook:
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        path = lab.write(f"{name}-{len(opened)}", cells, **options)
        page = pages.pop() if pages and not own_page else None
        notebook = lab.open(browser, path, page=page, theme=theme)
        opened.append((notebook, own_page))
        return notebook

    yield open_
    for notebook, own_page in opened:
        if own_page or request.node.stash.get(_FAILED, False):
            notebook.close()
        else:
            pages.append(notebook.leave())


@pytest.fixture
def work(lab: Lab) -> Path:
    """Return the folder where notebooks, and the files that their cells name, are."""
    return lab.work
