"""Walk through the first hour of a new user: a real JupyterLab, a shell beside it, and pictures of each step.

python -m tests.acceptance.first_hour FOLDER [--notebook-7]

Each step is photographed in two widths and two themes. The walk fails where a step does not show what a user has to
see, where a part of it is cut off, and where JavaScript raises an error.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Locator, expect, sync_playwright

from mlmgmt_nb import local
from tests.acceptance.panels.lab import CHROMIUM_ARGUMENTS, Lab, Notebook, Notebook7
from tests.support.environment import use_own_programs
from tests.support.waiting import DEADLINE, eventually

__all__ = ["LOOKS", "Look", "Walk", "walk_through"]

_HEIGHT = 2600
"""Pixels of a page, so that each cell is in sight as a whole."""
_ALL_CELLS = {"windowingMode": "none"}
"""A setting: otherwise, JupyterLab takes cells out of the page that are not in sight."""
_DRAWN = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 100, true)))"
SETUP = "%load_ext mlmgmt_nb\nfrom mlmgmt_nb import connect\n\nws = connect()\nws"
FIT = """\
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

flowers, labels = load_iris(return_X_y=True, as_frame=True)
species = load_iris().target_names[labels]
model = LogisticRegression(C=0.01).fit(flowers, species)"""
DEPLOY = 'ws.deploy("flowers", model=model, sample=flowers)'
USAGE = "%mlmgmt service usage -n flowers"
PANEL = "%mlmgmt service panel -n flowers"
TRY = "console = %mlmgmt service try -n flowers\nconsole"
LOGS = "%mlmgmt service logs -n flowers"
TEST = """\
cases = flowers.assign(species=species)
report = %mlmgmt service test -n flowers --cases {cases} --expect species --requests 500 --concurrency 4
report"""
DIFF = """\
better = LogisticRegression(max_iter=1000).fit(flowers, species)
%mlmgmt service diff -n flowers -m {better} --sample {flowers}"""
IMAGE = 'ws.deploy("flowers-2", model=better, sample=flowers)'
UPDATE = "%mlmgmt service update -n flowers -m {better} --sample {flowers}"
ROLLBACK = "%mlmgmt service rollback -n flowers"
WRONG = "%mlmgmt service run -n flowers -d {flowers[['sepal length (cm)']].head(2)}"
BROKEN = """\
%%mlmgmt driver broken.py
import json


def init():
    global rates
    rates = json.load(open("rates.json"))


def run(body):
    return rates"""
FAILED = "%mlmgmt service create -n broken -f broken.py"
LAST_ERROR = "%mlmgmt last-error"
LIST = "%mlmgmt service list"
WORKSPACE = "panel = %mlmgmt\npanel"
CELLS = (
    *(SETUP, FIT, DEPLOY, USAGE, PANEL, TRY, LOGS, TEST, DIFF, IMAGE, UPDATE, ROLLBACK),
    *(WRONG, BROKEN, FAILED, LAST_ERROR, LIST, WORKSPACE),
)


class Look(NamedTuple):
    """How a page looks: the width in pixels, and the theme."""

    width: int
    theme: str


LOOKS = tuple(Look(width, theme) for theme, width in product(("light", "dark"), (1400, 700)))


class Walk:
    """A notebook with all cells of the hour, a shell, and a folder for pictures.

    Args:
        notebook: the open notebook.
        looks: the looks of each picture.
        folder: where pictures and outputs of the shell are written.
    """

    def __init__(self, notebook: Notebook, looks: Sequence[Look], folder: Path) -> None:
        self.notebook, self._looks, self._folder = notebook, looks, folder
        self._count = 0
        self.seconds: dict[str, float] = {}

    def cell(self, source: str) -> int:
        """Return the number of a cell."""
        return CELLS.index(source)

    def run(self, source: str, *seen: str) -> Locator:
        """Run a cell, wait until it shows some texts, and return its outputs."""
        begun = time.perf_counter()
        number = self.cell(source)
        self.notebook.run(number)
        for text in seen:
            expect(self.notebook.outputs(number)).to_contain_text(text)
        self.seconds[source.splitlines()[-1][:60]] = time.perf_counter() - begun
        return self.notebook.outputs(number)

    def take(self, name: str, source: str) -> None:
        """Take the pictures of a cell.

        Raises:
            AssertionError: a part of it is cut off, or JavaScript raised an error.
        """
        self._count += 1
        page, number = self.notebook.page, self.cell(source)
        for width, theme in self._looks:
            page.set_viewport_size({"width": width, "height": _HEIGHT})
            self.notebook.set_theme(theme)
            page.mouse.move(0, 0)
            page.wait_for_function(_DRAWN)
            cell = page.locator(".jp-Notebook .jp-Cell").nth(number)
            cell.scroll_into_view_if_needed()
            cell.screenshot(path=self._folder / f"{self._count:02}-{name}-{width}-{theme}.png")
            cut_off = self.notebook.cut_off(number)
            assert not cut_off, f"{name} at {width} px, {theme}: cut off: {cut_off}"
        assert self.notebook.errors == [], f"{name}: {self.notebook.errors}"

    def shell(self, name: str, command: str) -> str:
        """Run a command as pasted into a shell, and return what it prints."""
        self._count += 1
        begun = time.perf_counter()
        lab = self.notebook.lab
        done = subprocess.run(
            ["bash", "-c", command], env=lab.environment, cwd=lab.work, capture_output=True, text=True, timeout=DEADLINE
        )
        self.seconds[f"$ {name}"] = time.perf_counter() - begun
        printed = f"$ {command}\n{done.stdout}{done.stderr}"
        (self._folder / f"{self._count:02}-{name}.txt").write_text(printed)
        assert done.returncode == 0, printed
        return done.stdout


def walk_through(walk: Walk) -> None:
    """Take every step of the hour."""
    assert "No service is running" in walk.shell("installed", "mlmgmt --version; mlmgmt status 2>&1 || true")
    _deploy(walk)
    _watch(walk)
    _change(walk)
    _fail(walk)
    _return(walk)


def _deploy(walk: Walk) -> None:
    """Deploy a model, and ask it by curl."""
    walk.run(SETUP)
    walk.take("connect", SETUP)
    walk.run(FIT)
    walk.run(DEPLOY, "answers")
    walk.take("deploy", DEPLOY)
    outputs = walk.run(USAGE, "curl")
    walk.take("usage", USAGE)
    block = outputs.locator("pre").filter(has_text="curl").first.inner_text()
    assert "setosa" in walk.shell("curl", block)


def _watch(walk: Walk) -> None:
    """Watch the service in its panels and its log, and test it."""
    panel = walk.run(PANEL, "1 of 1 ready")
    for tab in ("Traffic", "Log", "Scale", "Deployments", "Keys", "Delete"):
        panel.get_by_role("tab", name=tab, exact=True).click()
        walk.take(f"panel-{tab.lower()}", PANEL)
    console = walk.run(TRY, "Send")
    walk.take("try", TRY)
    console.get_by_role("button", name="Send").click()
    expect(console.get_by_role("region", name="answer", exact=True)).to_contain_text("200 OK")
    walk.take("try-answer", TRY)
    first = console.get_by_role("table").first.get_by_role("textbox").first
    first.fill("much")
    console.get_by_role("button", name="Send").click()
    walk.notebook.wait_to_see(walk.cell(TRY), "not a number")
    walk.take("try-problem", TRY)
    first.fill("5.1")
    console.get_by_role("tab", name="Code").click()
    walk.take("try-code", TRY)
    log = walk.run(LOGS, "200")
    expect(log).not_to_contain_text('"status"')
    walk.take("logs", LOGS)
    walk.run(TEST, "500")
    walk.take("test", TEST)


def _change(walk: Walk) -> None:
    """Compare a second version, update to it, and go back."""
    walk.run(DIFF, "a new version")
    walk.take("diff", DIFF)
    walk.run(IMAGE, "answers")
    panel = walk.notebook.outputs(walk.cell(PANEL))
    panel.get_by_role("tab", name="Deployments", exact=True).click()
    choice = panel.get_by_label("Update to image")
    eventually(lambda: "flowers-2 version 1" in choice.inner_text(), what="the image of the second model")
    choice.select_option(label="flowers-2 version 1")
    panel.get_by_role("button", name="Update", exact=True).click()
    walk.take("update-asks", PANEL)
    panel.get_by_role("button", name="Keep the current image").click()
    walk.run(UPDATE, "answers 100 rows")
    walk.take("update", UPDATE)
    walk.run(ROLLBACK, "Succeeded")
    walk.take("rollback", ROLLBACK)


def _fail(walk: Walk) -> None:
    """Read errors: a wrong input, a driver that does not start, and its traceback."""
    walk.run(WRONG, "sepal width (cm): this column is missing (in all 2 rows)")
    walk.take("wrong-input", WRONG)
    walk.run(BROKEN, "rates.json")
    walk.take("driver-check", BROKEN)
    (walk.notebook.lab.work / "broken.py").write_text(BROKEN.partition("\n")[2])
    walk.run(FAILED, "rates.json")
    walk.take("broken-driver", FAILED)
    walk.run(LAST_ERROR, "rates.json")
    walk.take("last-error", LAST_ERROR)


def _return(walk: Walk) -> None:
    """Look at all that was made; stop the service and start it again."""
    walk.run(LIST, "Not serving")
    walk.take("list", LIST)
    panel = walk.run(WORKSPACE, "flowers")
    for tab in ("Services", "Models", "Operations"):
        panel.get_by_role("tab", name=tab).click()
        expect(panel).to_contain_text(re.compile(rf"\d {tab.lower()}"))
        panel.get_by_role("row").nth(1).click()
        panel.get_by_role("button", name="Copy id").first.wait_for()
        walk.take(f"workspace-{tab.lower()}", WORKSPACE)
    walk.shell("stop", "mlmgmt stop")
    walk.notebook.wait_to_see(walk.cell(PANEL), "is stopped")
    walk.take("stopped", PANEL)
    stopped = walk.notebook.outputs(walk.cell(PANEL))
    stopped.get_by_role("button", name="Start the service").click()
    expect(stopped).not_to_contain_text("is stopped")
    expect(stopped).to_contain_text("1 of 1 ready")
    walk.take("started", PANEL)
    block = walk.notebook.outputs(walk.cell(USAGE)).locator("pre").filter(has_text="curl").first.inner_text()
    assert "setosa" in eventually(lambda: walk.shell("curl-again", block), what="the same URL and key")


@contextmanager
def new_user(
    browser: Browser, place: Path, looks: Sequence[Look], folder: Path, kind: type[Lab] = Lab
) -> Iterator[Walk]:
    """Open the notebook of the hour in a JupyterLab of its own, for an account with nothing in it."""
    home = place / "home"
    settings = place / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(_ALL_CELLS))
    lab = kind(place, {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(place / "config.toml")})
    try:
        notebook = lab.open(browser, lab.write("first-hour", CELLS))
        notebook.hide_sidebars()
        notebook.page.set_viewport_size({"width": looks[0].width, "height": _HEIGHT})
        for theme in dict.fromkeys(look.theme for look in reversed(looks)):
            notebook.set_theme(theme)
        notebook.errors.clear()  # of the front end itself: no cell has run
        yield Walk(notebook, looks, folder)
        notebook.close()
    finally:
        lab.stop()
        local.stop(home)


def main(arguments: Sequence[str] | None = None) -> None:
    """Walk once, take all pictures, and print the seconds of each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where pictures are written")
    parser.add_argument("--notebook-7", action="store_true", help="in Notebook 7 instead of JupyterLab")
    given = parser.parse_args(arguments)
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    use_own_programs()
    expect.set_options(timeout=DEADLINE * 1000)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_ARGUMENTS))
        with new_user(browser, Path(place), LOOKS, folder, Notebook7 if given.notebook_7 else Lab) as walk:
            try:
                walk_through(walk)
            finally:
                walk.notebook.page.screenshot(path=folder / "last.png")
                for step, seconds in walk.seconds.items():
                    print(f"{seconds:6.1f} s  {step}")
        browser.close()


if __name__ == "__main__":
    main()
