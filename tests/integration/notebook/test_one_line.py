"""From an object to a URL in one line: its output is three lines, and the last one is a command that answers."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.dummy import DummyRegressor

from mlmgmt_nb.errors import UsageError
from tests.integration.notebook.conftest import Notebook
from tests.integration.notebook.test_kernel import Kernel

DEFINES = "def price(age: int, plan: str = 'A') -> float:\n    return age * (2.0 if plan == 'A' else 1.0)"
CREATE = "%mlmgmt service create -n price -m {price} --sample {dict(age=41)}"
SHOWN = r"""
service price answers 1 row as the notebook does, bit for bit
URL     (http://\S+/score)
try it  %(mlmgmt service run -n price)
""".strip()


@pytest.fixture
def kernel(environment: Path) -> Iterator[Kernel]:
    kernel = Kernel(dict(os.environ))
    kernel.run(DEFINES)
    yield kernel
    kernel.run("%mlmgmt service delete -n price")
    kernel.stop()


def pasted(command: str) -> str:
    """Return the output of a line that is pasted into a shell."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_cell_shows_three_lines_and_its_command_answers(kernel: Kernel) -> None:
    ran = kernel.run(CREATE)
    assert ran["status"] == "ok", ran
    kinds = [output["type"] for output in ran["outputs"] if output["type"] != "status"]
    assert kinds[1] == "display_data"  # after `execute_input`: one output, in which the steps were shown
    assert set(kinds[2:]) == {"update_display_data"}
    last = ran["outputs"][-2]["data"]
    found = re.fullmatch(SHOWN, last["text/plain"])
    assert found is not None, last["text/plain"]
    assert f'href="{found[1]}"' in last["text/html"]
    assert json.loads(pasted(found[2])) == 82.0
    assert kernel.run(f"%{found[2]}")["outputs"][-2]["data"]["text/plain"] == "82.0"
    # content that is registered already is a step too, and the poller is the value of the line, as of others
    again = kernel.run(f"poller = {CREATE}\npoller.result().proof")["outputs"]
    assert not [output for output in again if output["type"] == "stream"]
    assert again[-2]["data"]["text/plain"] == "'answers 1 row as the notebook does, bit for bit'"


def test_the_command_answers_without_an_example(kernel: Kernel) -> None:
    ran = kernel.run(f"{CREATE} --example no")
    assert ran["status"] == "ok", ran
    command = ran["outputs"][-2]["data"]["text/plain"].splitlines()[-1].partition("%")[2]
    assert json.loads(pasted(command)) == 0.0  # for a placeholder
    usage = pasted("mlmgmt service usage -n price")
    assert """--data-raw '{"age": 0}'""" in usage
    assert '"age": 41' not in usage
    assert "'age': 41" not in usage


def test_a_shell_prints_three_lines_and_its_command_answers(environment: Path) -> None:
    model = DummyRegressor(strategy="constant", constant=7.0).fit([[0.0]], [7.0])
    (environment / "seven.pkl").write_bytes(pickle.dumps(model))
    (environment / "rows.json").write_text("[[1.0], [2.0]]")
    printed = pasted("mlmgmt service create -n seven -m seven.pkl --sample rows.json").splitlines()
    assert printed[0] == "service seven answers 2 rows as a fresh process did"
    assert printed[2] == "try it  mlmgmt service run -n seven"
    assert len(printed) == 3
    assert json.loads(pasted(printed[2].removeprefix("try it  "))) == [7.0, 7.0]
    pasted("mlmgmt service delete -n seven")


def test_a_terminal_keeps_three_lines(environment: Path) -> None:
    """The steps are shown in one line, which the result replaces."""
    code = f"%load_ext mlmgmt_nb\n{DEFINES}\nget_ipython().run_cell({CREATE!r})\n"
    (environment / "session.ipy").write_text(code)
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", "session.ipy"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the terminal is closed when the process ends
        while part := os.read(ours, 4096):
            text += part
    os.close(ours)
    assert process.wait() == 0
    assert b"package (" in text
    lines = text.decode().replace("\r\n", "\n").split("\n")
    visible = [re.sub(r"\033[\[\]].*?[A-Za-z\007]", "", line.rpartition("\r")[2]).strip() for line in lines]
    assert re.fullmatch(SHOWN, "\n".join(line for line in visible if line and not line.startswith("Out["))), text
    pasted("mlmgmt service delete -n price")


def test_a_sample_that_the_model_refuses_is_one_line_in_a_cell(notebook: Notebook) -> None:
    """Its flag holds a DataFrame, which has no truth value."""
    notebook.run("import pandas as pd\nX = pd.DataFrame({'a': [1.0]})\ndef strict(rows):\n    raise ValueError('no')")
    cell = notebook.attempt("%mlmgmt service create -n strict -m {strict} --sample {X}")
    assert isinstance(cell.error, UsageError)
    assert cell.error.message == "--sample: the function refuses it: ValueError: no"
