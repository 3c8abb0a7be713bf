"""One JupyterLab, one embedded service and one browser for all tests of panels."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from mlmgmt_nb import local
from tests.acceptance.panels.kernels import VERSIONS
from tests.acceptance.panels.lab import CHROMIUM_ARGUMENTS, Lab, Notebook, Voila
from tests.support.components import missing
from tests.support.waiting import DEADLINE

expect.set_options(timeout=DEADLINE * 1000)  # 5 seconds otherwise, which a machine under load needs for itself


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, whose kernels find an embedded service of the tests' own."""
    folder = tmp_path_factory.mktemp("lab")
    home = folder / "home"
    local.ensure(home)
    lab = Lab(folder, {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(folder / "config.toml")})
    yield lab
    lab.stop()
    local.stop(home)


@pytest.fixture(scope="session")
def voila(lab: Lab) -> Iterator[Voila]:
    """Voila, beside JupyterLab: `lab.write` writes notebooks for it too."""
    voila = Voila(lab)
    yield voila
    voila.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. One a module: Playwright has an event loop run in this thread, which other tests cannot bear."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        missing("Chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


_OF_KERNELS = ("test_display", "test_scoring_test")
"""Modules whose tests depend on threads, interrupts and messages of the kernel: they run on each version."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with a `kernel_name` on the newest version of the kernel, those that depend on it on each."""
    if "kernel_name" in metafunc.fixturenames:
        versions = VERSIONS if metafunc.module.__name__.endswith(_OF_KERNELS) else VERSIONS[-1:]
        metafunc.parametrize("kernel_name", [f"ipykernel-{version}" for version in versions])


@pytest.fixture
def open_notebook(lab: Lab, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Notebook]]:
    """Write a notebook of some cells, opens it, and close it and its kernel when the test ends."""
    opened: list[Notebook] = []

    def open_(cells: list[str], *, theme: str = "light", **options: Any) -> Notebook:
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        opened.append(lab.open(browser, lab.write(f"{name}-{len(opened)}", cells, **options), theme=theme))
        return opened[-1]

    yield open_
    for notebook in opened:
        notebook.close()


@pytest.fixture
def work(lab: Lab) -> Path:
    """Return the folder where notebooks, and the files that their cells name, are."""
    return lab.work
