"""Take the screenshots of the README and the documentation: the real product, in JupyterLab, in Chromium.

python -m tests.support.screenshots [FOLDER]

All screenshots have the same width and the light theme. The program fails if a part of a screenshot is cut off.
"""

from __future__ import annotations

import pickle
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from playwright.sync_api import Browser, Locator, ViewportSize, expect, sync_playwright
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from mlmgmt_nb import Workspace, connect, local
from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema
from tests.acceptance.panels.lab import CHROMIUM_ARGUMENTS, Lab, Notebook
from tests.support.environment import use_own_programs
from tests.support.waiting import DEADLINE

__all__ = ["FOLDER", "PICTURES", "take"]

FOLDER = Path(__file__).parents[2] / "notebooks" / "pictures"
PAGE: ViewportSize = {"width": 1060, "height": 2000}
WIDTH = 964
"""Width of each screenshot in pixels: the width of a cell in a page of this size."""
_ROW = "'[[5.1, 3.5, 1.4, 0.2]]'"
_LOAD = "%load_ext mlmgmt_nb"
_DRIVER = """\
import json
import pickle
import re


def init():
    global model
    with open("iris.pkl", "rb") as file:
        model = pickle.load(file)


def run(http_body):
    return model.predict(json.loads(http_body)).tolist()
"""
_GARDEN = """\
def run(flowers):
    return [{"size": "long" if petal > 3 else "short", "petal": petal} for petal in flowers["petal"]]
"""
_CALLS = """\
import time
from mlmgmt_nb import connect
ws = connect()
for number in range(400):
    time.sleep(0.02)
    try:
        ws.services.run("iris", [[5.1, 3.5, 1.4, 0.2]] if number % 25 else [[5.1]])
    except Exception:
        pass  # a wrong request, on purpose
"""

_CHANGE = """\
from mlmgmt_nb import connect
ws = connect()
change = ws.services.propose("flowers", max_concurrent_requests=20, reason="more callers")
change"""
_CANARY = """\
import pandas as pd
change.canary(25)
flowers = pd.read_csv("cases.csv").drop(columns="species")
while change.candidate.canary.state != "Passed":
    ws.services.run("flowers", flowers.sample(3))
"""

Shoot = Callable[["Studio"], None]


class Studio:
    """A JupyterLab, an account with a few resources, and a folder for the screenshots.

    Args:
        lab: the JupyterLab.
        browser: opens its pages.
        ws: the account that its kernels use.
        folder: folder for the screenshots.
    """

    def __init__(self, lab: Lab, browser: Browser, ws: Workspace, folder: Path) -> None:
        self.lab, self.ws, self._browser, self._folder = lab, ws, browser, folder

    def open(self, name: str, *cells: str) -> Notebook:
        """Open a notebook with cells in a page of fixed size, without sidebars."""
        notebook = self.lab.open(self._browser, self.lab.write(name, cells))
        notebook.page.set_viewport_size(PAGE)
        notebook.hide_sidebars()
        return notebook

    def take(self, notebook: Notebook, name: str, cells: Sequence[int], below: Locator | None = None) -> None:
        """Write the screenshot of some cells, and of an element below them; fail if a part of them is cut off."""
        page = notebook.page
        shown = [page.locator(".jp-Notebook .jp-Cell").nth(number) for number in cells]
        cut_off = [part for number in cells for part in notebook.cut_off(number)]
        assert not cut_off, f"{name}: cut off: {cut_off}"
        page.mouse.move(0, 0)
        boxes = [box for part in [*shown, *([below] if below else [])] if (box := part.bounding_box())]
        top, bottom = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
        clip = {"x": boxes[0]["x"], "y": top - 2, "width": WIDTH, "height": bottom - top + 1}
        page.screenshot(path=self._folder / f"{name}.png", clip=clip)  # type: ignore[arg-type]


def service_create(studio: Studio) -> None:
    """Take two screenshots: a cell that creates a service, with its card; a wrong request, and a completed name."""
    create = "%mlmgmt service create -n iris -m iris.pkl -f score.py"
    wrong = "%mlmgmt service run -n iris -d '[[5.1, 3.5]]'"
    typed = "%mlmgmt service show -n "
    notebook = studio.open("create", _LOAD, create, f"%mlmgmt service run -n iris -d {_ROW}", wrong, typed)
    for number in range(4):
        notebook.run(number)
    notebook.wait_to_see(3, "expecting 4 features")
    studio.take(notebook, "service-create", range(3))
    editor = notebook.page.locator(".jp-Notebook .jp-Cell").nth(4).locator(".cm-content")
    editor.click()
    notebook.page.keyboard.press("End")
    notebook.page.keyboard.press("Tab")
    menu = notebook.page.locator(".jp-Completer")
    menu.get_by_text("iris", exact=True).first.wait_for()
    studio.take(notebook, "error-and-completion", range(2, 5), menu)
    notebook.close()


def workspace_panel(studio: Studio) -> None:
    """Take the services of an account, with the details of a service and the graph of its origin."""
    notebook = studio.open("workspace", f"{_LOAD}\n%mlmgmt")
    notebook.run(0)
    panel = notebook.outputs(0)
    panel.get_by_role("tab", name="Services").click()
    expect(panel).to_contain_text(re.compile(r"\d services"))
    panel.get_by_role("row").filter(has_text="iris").first.click()
    notebook.wait_to_see(0, "scoring URL")
    panel.get_by_text("deployments", exact=True).last.wait_for()
    studio.take(notebook, "workspace-panel", [0])
    notebook.close()


def deploy_panel(studio: Studio) -> None:
    """Take the form of a deployment, filled in, with the check of its driver."""
    notebook = studio.open("deploy", f"{_LOAD}\n%mlmgmt service form -n iris -m iris.pkl -f score.py")
    notebook.run(0)
    notebook.outputs(0).get_by_role("button", name="Check the driver").click()
    notebook.wait_to_see(0, "loaded and checked in")
    studio.take(notebook, "deploy-panel", [0])
    notebook.close()


def service_panel(studio: Studio) -> None:
    """Take the traffic of a service that gets calls, some of them wrong."""
    notebook = studio.open("service", f"{_LOAD}\n%mlmgmt service panel -n iris", _CALLS)
    notebook.run(0)
    notebook.run(1)
    notebook.outputs(0).get_by_role("img", name=re.compile(r"Latency: p50.*last ([89]|\d\d) s")).wait_for()
    studio.take(notebook, "service-panel", [0])
    notebook.close()


def service_update(studio: Studio) -> None:
    """Take the confirmation of an update to an image with another model, and the list of services."""
    notebook = studio.open("update", f"{_LOAD}\n%mlmgmt service panel -n iris", "%mlmgmt service list")
    notebook.run(0)
    panel = notebook.outputs(0)
    panel.get_by_role("tab", name="Deployments", exact=True).click()
    panel.get_by_label("Update to image").select_option(label="flowers version 1")
    panel.get_by_role("button", name="Update", exact=True).click()
    notebook.wait_to_see(0, "to confirm")
    studio.take(notebook, "service-update", [0])
    notebook.run(1)
    notebook.wait_to_see(1, "columns")
    studio.take(notebook, "service-list", [1])
    notebook.close()


def scoring(studio: Studio) -> None:
    """Take the form for calling a service with fields for its types, and the response to an earlier input."""
    work = studio.lab.work
    (work / "garden.py").write_text(_GARDEN)
    sample = pd.DataFrame({"petal": [1.4, 4.7, 6.0], "bed": pd.Categorical(["north", "south", "south"])})
    sample["wild"] = [True, False, False]
    sample["picked"] = pd.to_datetime(["2026-05-01", "2026-06-12", "2026-06-12"])
    generate_schema(
        lambda flowers: flowers, {"flowers": SampleDefinition(DataTypes.PANDAS, sample)}, filepath=work / "garden.json"
    )
    studio.ws.deploy("garden", driver=work / "garden.py", schema=work / "garden.json")
    notebook = studio.open("try", f"{_LOAD}\npanel = %mlmgmt service try -n garden\npanel")
    notebook.run(0)
    panel = notebook.outputs(0)
    for number, petal in enumerate(("1.4", "5.1"), start=1):
        panel.get_by_label("petal, row 1").fill(petal)
        panel.get_by_role("button", name="Send").click()
        expect(panel.get_by_role("region", name="answer")).to_contain_text(f"request {number} at")
    panel.get_by_label("petal, row 2").fill("2.2")
    notebook.wait_to_see(0, "The input has changed since.")
    studio.take(notebook, "scoring", [0])
    notebook.close()


def scoring_test(studio: Studio) -> None:
    """Take the result of a scoring test with some wrong answers."""
    cell = (
        f"{_LOAD}\nimport pandas as pd\ncases = pd.read_csv('cases.csv')\n"
        "report = %mlmgmt service test -n flowers --cases cases --expect species --requests 3000 --concurrency 4"
    )
    notebook = studio.open("test", cell)
    notebook.run(0)
    notebook.wait_to_see(0, " failures")
    studio.take(notebook, "scoring-test", [0])
    notebook.close()


def change_panel(studio: Studio) -> None:
    """Take a change whose canary is good enough."""
    notebook = studio.open("change", f"{_LOAD}\n{_CHANGE}", _CANARY)
    notebook.run(0)
    panel = notebook.outputs(0)
    panel.get_by_role("tab", name="Canary").click()
    notebook.run(1)
    notebook.wait_to_see(0, "good enough")
    studio.take(notebook, "change-panel", [0])
    studio.ws.services.discard("flowers")
    notebook.close()


PICTURES: dict[str, Shoot] = {
    "service-create": service_create,
    "error-and-completion": service_create,
    "workspace-panel": workspace_panel,
    "deploy-panel": deploy_panel,
    "service-panel": service_panel,
    "service-update": service_update,
    "service-list": service_update,
    "change-panel": change_panel,
    "scoring": scoring,
    "scoring-test": scoring_test,
}
"""The function that takes each screenshot, by file name."""


def _prepare(ws: Workspace, work: Path) -> None:
    """Write a model, its driver and test cases, and deploy the services that the screenshots do not create."""
    rows, labels = load_iris(return_X_y=True, as_frame=True)
    names = pd.Series(load_iris().target_names)[labels]
    model = LogisticRegression(max_iter=1000).fit(rows.to_numpy(), labels)
    (work / "iris.pkl").write_bytes(pickle.dumps(model))
    (work / "score.py").write_text(_DRIVER)
    rows = rows.rename(columns=lambda name: name.removesuffix(" (cm)"))
    species = LogisticRegression(C=0.1, max_iter=1000).fit(rows, names)
    ws.deploy("flowers", model=species, sample=rows.iloc[[0, 60, 120]])
    rows.assign(species=names.to_numpy()).to_csv(work / "cases.csv", index=False)


def take(folder: Path) -> None:
    """Take all screenshots.

    Args:
        folder: folder for the screenshots.
    """
    use_own_programs()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        local.ensure(home)
        environment = {"MLMGMT_HOME": str(home), "MLMGMT_CONFIG": str(Path(place) / "config.toml")}
        lab = Lab(Path(place) / "lab", environment)
        try:
            with connect(home=home) as ws, sync_playwright() as playwright:
                _prepare(ws, lab.work)
                expect.set_options(timeout=DEADLINE * 1000)
                program = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_ARGUMENTS))
                studio = Studio(lab, browser, ws, folder)
                for shoot in dict.fromkeys(PICTURES.values()):
                    shoot(studio)
                browser.close()
        finally:
            lab.stop()
            local.stop(home)


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
