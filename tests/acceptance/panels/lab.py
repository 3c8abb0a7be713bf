"""A real JupyterLab in a real browser, for tests of panels."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, ViewportSize
from playwright.sync_api import Error as PlaywrightError

from tests.acceptance.panels.kernels import VERSIONS
from tests.acceptance.panels.page_scripts import (
    CLOSE_ALL,
    CUT_OFF,
    HAS_HEIGHT,
    HIDE_SIDEBARS,
    OPEN,
    OPEN_WITHOUT_KERNEL,
    PROMPT,
    READY,
    SAVE_STATE,
    VALUE_OF,
)
from tests.acceptance.panels.server import Server, jupyter_environment
from tests.support.waiting import DEADLINE, eventually

__all__ = ["CHROMIUM_ARGUMENTS", "Lab", "Notebook", "Notebook7", "Voila"]

CHROMIUM_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
TOKEN = "the-token-of-the-lab"
_VIEWPORT: ViewportSize = {"width": 1100, "height": 900}
_OF_JUPYTERLAB = (
    "Disposed",
    "Canceled future for create_subshell_request message before replies were done",
    "Cannot read properties of null (reading 'kernel')",
)
"""Errors of JupyterLab itself: its promises when the kernel connection of a closed notebook ends, or a kernel is
restarted while it makes a subshell for a widget; its widget manager and session, which do not expect a notebook without
a kernel."""
_QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


class Lab:
    """A JupyterLab server with a kernel of each version.

    Class attributes are what differs in other front ends: the Python module, its settings, and the page of a notebook.

    Args:
        folder: for its files.
        environment: what kernels have besides, such as `MLMGMT_HOME`.
    """

    module, application, page = "jupyterlab", "LabApp", "lab/tree"

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        app = f"--{self.application}"
        self.environment = jupyter_environment(folder, environment)
        settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(_QUIET))
        arguments = [
            *(self.module, "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port={port}"),
            *("--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"{app}.expose_app_in_browser=True"),
            *("--ServerApp.root_dir=.", "--LabApp.news_url=None", "--ServerApp.terminals_enabled=False"),
            *(f"{app}.user_settings_dir={folder / 'settings'}", f"{app}.workspaces_dir={folder / 'workspaces'}"),
        ]
        self.server = Server(folder, arguments, f"/api?token={TOKEN}", self.environment)
        self.work = self.server.work

    def write(self, name: str, cells: Sequence[str], kernel: str = f"ipykernel-{VERSIONS[-1]}") -> Path:
        """Write a notebook; each test gives it a name of its own, since a name that was open keeps its kernel."""
        path = self.work / f"{name}.ipynb"
        blank: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
            "cells": [{**blank, "id": f"cell-{place}", "source": cell} for place, cell in enumerate(cells)],
        }
        path.write_text(json.dumps(notebook))
        return path

    def open(self, browser: Browser, path: Path, *, page: Page | None = None, theme: str = "light") -> Notebook:
        """Open a notebook with its kernel.

        Args:
            browser: the browser, for a page of its own.
            path: of the notebook.
            page: a page of JupyterLab whose last notebook was closed, to use instead: a page takes seconds to load.
            theme: `light` or `dark`.
        """
        notebook = Notebook(self, page or browser.new_context(viewport=_VIEWPORT).new_page(), path)
        notebook.open() if page else notebook.load()
        notebook.set_theme(theme)
        return notebook

    def stop(self) -> None:
        self.server.stop()


class Notebook7(Lab):
    """A server of Notebook 7, with the same kernels. Tests do not install it: `pip install notebook`."""

    module, application, page = "notebook", "JupyterNotebookApp", "notebooks"


class Notebook:
    """A notebook in JupyterLab. `page` is Playwright's."""

    def __init__(self, lab: Lab, page: Page, path: Path) -> None:
        self.lab, self.page, self.path = lab, page, path
        self.errors: list[str] = []
        page.set_default_timeout(DEADLINE * 1000)
        page.on("pageerror", self._note)

    def _note(self, error: PlaywrightError) -> None:
        if str(error) not in _OF_JUPYTERLAB:
            self.errors.append(error.stack or str(error))

    def load(self, *, kernel: bool = True) -> None:
        """Load the page anew. Without `kernel` the notebook's kernel is ended, and it is opened with none."""
        address = f"{self.lab.server.url}/{self.lab.page}/{self.path.name}?reset&token={TOKEN}"
        if kernel:
            self.page.goto(address)
            self.wait_until_idle()
            return
        self.end_kernel()
        self.page.goto(address.replace(f"/tree/{self.path.name}", ""))
        self._until(OPEN_WITHOUT_KERNEL, self.path.name)

    def open(self) -> None:
        """Open the notebook, with its kernel, in the page as it is."""
        self.page.evaluate(f"path => {{ {OPEN} }}", self.path.name)
        self.wait_until_idle()
        self.errors.clear()  # JupyterLab's own, of the notebook that was closed

    def reopen_without_kernel(self) -> None:
        """Close the notebook, end its kernel, and open it with none in the same page."""
        self.page.evaluate(CLOSE_ALL)
        self.end_kernel()
        self._until(OPEN_WITHOUT_KERNEL, self.path.name)

    def set_theme(self, theme: str) -> None:
        """Change the theme, which JupyterLab keeps: for notebooks that are opened later, too."""
        is_set = f"body[data-jp-theme-light='{'true' if theme == 'light' else 'false'}']"
        if not self.page.locator(is_set).count():
            # JupyterLab shows its splash screen and removes it 0.2 s later: an error if it was shown again in between.
            self.page.wait_for_selector("#jupyterlab-splash", state="detached")
            name = f"JupyterLab {theme.capitalize()}"
            self.page.evaluate(
                "theme => { window.jupyterapp.commands.execute('apputils:change-theme', {theme}) }", name
            )
            self.page.wait_for_selector(is_set, state="attached")

    def hide_sidebars(self) -> None:
        """Leave the whole width of the page to the notebook."""
        self.page.evaluate(HIDE_SIDEBARS)

    def wait_until_idle(self) -> None:
        """Wait until the kernel has done all it was asked for."""
        self._until(READY, self.path.name)

    def _until(self, expression: str, argument: object = None) -> None:
        """Wait until JavaScript returns true. JupyterLab may load its page again meanwhile: `reset` has it do so."""
        deadline = time.monotonic() + DEADLINE
        while not self._is_true(expression, argument):
            assert time.monotonic() < deadline, self.page.inner_text("body")[-2000:]
            self.page.wait_for_timeout(50)

    def _is_true(self, expression: str, argument: object) -> bool:
        try:
            if self.page.evaluate(expression, argument):
                return True
            # Chromium ends its requests when a network interface comes or goes, as those of containers beside it do.
            if self.page.locator(".jp-Dialog", has_text="Error Loading Theme").count():
                self.page.reload()
        except PlaywrightError as error:
            if "context was destroyed" not in error.message:
                raise
        return False

    def run(self, number: int, *, wait: bool = True) -> None:
        """Run a cell (they count from 0); waits until it has ended unless told not to."""
        self.page.evaluate(
            "number => { const panel = window.jupyterapp.shell.currentWidget; panel.content.activeCellIndex = number;"
            " window.jupyterapp.commands.execute('notebook:run-cell') }",
            number,
        )
        if wait:
            self.wait_for_end(number)

    def run_all(self) -> None:
        """Run each cell after the other."""
        for number in range(self.page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.length")):
            self.run(number)

    def is_running(self, number: int) -> bool:
        return self.page.evaluate(PROMPT, number) in ("*", "")

    def wait_for_end(self, number: int) -> None:
        """Wait until a cell that was run has ended."""
        self.page.wait_for_function(f"number => !['*', ''].includes(({PROMPT})(number))", arg=number)
        self.wait_until_idle()

    def outputs(self, number: int) -> Locator:
        """Return the outputs of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number).locator(".jp-Cell-outputArea")

    def seen(self, number: int) -> str:
        """Return the text of a cell's outputs that one sees; what is hidden is left out."""
        return self.outputs(number).inner_text()

    def wait_to_see(self, number: int, text: str) -> str:
        """Wait until a cell's outputs show a text."""
        try:
            return eventually(lambda: _if(text, self.seen(number), self.page), DEADLINE, f"{text!r} in cell {number}")
        except pytest.fail.Exception:
            self.screenshot(f"not-seen-{self.path.stem}", number)
            pytest.fail(f"cell {number} does not show {text!r}, but {self.seen(number)!r}; errors: {self.errors}")

    def value_of(self, expression: str) -> str:
        """Return the value of an expression in the kernel as text, when all that was sent before has arrived."""
        value: str = self.page.evaluate(VALUE_OF, expression)
        return value

    def interrupt(self) -> None:
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")

    def restart_kernel(self) -> None:
        """Restarts the kernel; the page stays."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self.wait_until_idle()

    def end_kernel(self) -> None:
        """End the kernel, as who leaves for the day."""
        sessions = requests.get(f"{self.lab.server.url}/api/sessions", params={"token": TOKEN}, timeout=30).json()
        for session in sessions:
            if session["path"] == self.path.name:
                url = f"{self.lab.server.url}/api/sessions/{session['id']}"
                requests.delete(url, params={"token": TOKEN}, timeout=30).raise_for_status()

    def save(self, *, widgets: bool = False) -> Any:
        """Save the notebook, with the state of its widgets if asked for, and return it as JSON."""
        self._keep_widget_state(widgets)
        self.page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
        self._keep_widget_state(False)
        return json.loads(self.path.read_text())

    def _keep_widget_state(self, keep: bool) -> None:
        """Set what the menu has as `Save Widget State Automatically`."""
        is_kept = f"keep => window.jupyterapp.commands.isToggled({SAVE_STATE}) === keep"
        if not self.page.evaluate(is_kept, keep):
            self.page.evaluate(f"window.jupyterapp.commands.execute({SAVE_STATE})")
            self.page.wait_for_function(is_kept, arg=keep)

    def cut_off(self, number: int) -> list[str]:
        """Return the parts of a cell that are not shown in their full width, but for texts that end in an ellipsis.

        A part in which one has to scroll sideways is one of them.
        """
        found: list[str] = self.page.evaluate(CUT_OFF, number)
        return found

    def screenshot(self, name: str, number: int | None = None) -> None:
        """Take a picture of the page, or of one cell's outputs, if `MLMGMT_SCREENSHOTS` names a folder for pictures."""
        if not (folder := os.environ.get("MLMGMT_SCREENSHOTS")):
            return
        path = Path(folder, f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        if number is None:
            self.page.screenshot(path=path)
        else:
            self.outputs(number).screenshot(path=path)

    def leave(self) -> Page:
        """Close the notebook and end its kernel; return the page, in which another one can be opened."""
        self.page.remove_listener("pageerror", self._note)
        self.page.evaluate(CLOSE_ALL)
        self.end_kernel()
        return self.page

    def close(self) -> None:
        """End the kernel and close the page."""
        self.end_kernel()
        self.page.context.close()


class Voila:
    """Voila, in the folders of a JupyterLab: it runs notebooks and shows their outputs as a page."""

    def __init__(self, lab: Lab) -> None:
        arguments = ("voila", "--no-browser", "--Voila.ip=127.0.0.1", "--port={port}", "--Voila.tornado_settings={{}}")
        folder = lab.work.parent / "voila"
        folder.mkdir()
        self.server = Server(folder, (*arguments, str(lab.work)), "/", lab.environment)

    def open(self, browser: Browser, path: Path) -> Page:
        """Return the page of a notebook, once it has been run.

        On a busy machine it was seen once without the height that Voila's own style gives it: nothing in it could be
        clicked. Such a page is loaded again.
        """
        page = browser.new_context(viewport=_VIEWPORT).new_page()
        page.set_default_timeout(DEADLINE * 1000)
        failed: list[str] = []
        page.on("requestfailed", lambda request: failed.append(f"{request.url}: {request.failure}"))
        for _ in range(2):
            page.goto(f"{self.server.url}/voila/render/{path.name}")
            page.locator("#main #rendered_cells").wait_for(state="attached")
            if page.evaluate(HAS_HEIGHT, "#rendered_cells"):
                return page
        pytest.fail(f"the page of {path.name} has no height; failed requests: {failed}")

    def stop(self) -> None:
        self.server.stop()


def _if(text: str, seen: str, page: Page) -> str | None:
    if re.sub(r"\s+", " ", text) in re.sub(r"\s+", " ", seen):
        return seen
    page.wait_for_timeout(30)
    return None
