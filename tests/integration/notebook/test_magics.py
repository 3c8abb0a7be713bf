"""Cells with magics, run in a real IPython against the real service."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from mlmgmt_nb import errors, local
from mlmgmt_nb.client import Poller
from mlmgmt_nb.contract import ServiceResponse
from tests.integration.notebook.conftest import Notebook
from tests.support.waiting import eventually


@pytest.fixture
def echo(notebook: Notebook) -> Notebook:
    """Return a notebook with a service `echo`, made by a cell that may run again."""
    notebook.run("%mlmgmt service create -n echo -m model.bin -f score.py -r python --if-exists reuse")
    return notebook


def test_values_compose(echo: Notebook) -> None:
    echo.run("models = %mlmgmt model list --name model")
    models = echo.shell.user_ns["models"]
    assert isinstance(models, pd.DataFrame)
    assert str(models["created_at"].dtype) == "datetime64[us, UTC]"
    echo.run("svc = %mlmgmt service show -n echo")
    assert isinstance(echo.shell.user_ns["svc"], ServiceResponse)
    assert echo.run("%mlmgmt service show -i {svc.id}").result.name == "echo"
    echo.run("%mlmgmt service list >> listed")
    echo.run("%mlmgmt service list --out listed_too")
    assert echo.shell.user_ns["listed"].equals(echo.shell.user_ns["listed_too"])
    assert echo.run("%mlmgmt service list --query \"[?name=='echo'].name\"").result == ["echo"]
    assert '"echo"' in echo.run("%mlmgmt service list -o json").result


def test_a_wide_list_is_a_table_in_a_notebook(echo: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(echo.run("%mlmgmt service list -o wide").result, str), "in a terminal"
    monkeypatch.setattr(echo.shell, "kernel", None, raising=False)
    listed = echo.run("%mlmgmt service list -o wide").result
    assert isinstance(listed, pd.DataFrame)
    assert "manifest_<wbr>id" in echo.shown(listed, "text/html")
    assert "manifest_<wbr>id" not in echo.shown(echo.run("%mlmgmt service list").result, "text/html")


def test_python_values_go_in(echo: Notebook) -> None:
    echo.run("import pandas as pd; frame = pd.DataFrame({'a': [1, 2]}); name = 'echo'; data = {'x': frame}")
    assert echo.run("%mlmgmt service run -n $name -d {frame}").result == {"got": [{"a": 1}, {"a": 2}]}
    assert echo.run("%mlmgmt service run -n $name -d frame").result == {"got": [{"a": 1}, {"a": 2}]}
    described = echo.run("%mlmgmt model register -m model.bin -n described -d frame").result
    assert described.description == "frame"
    assert echo.run("%mlmgmt service test -n $name --cases frame").result.summary["requests"] == 2
    assert echo.run("%mlmgmt service run -n {name} -d $data").result == {"got": {"x": [{"a": 1}, {"a": 2}]}}
    assert echo.run("""%mlmgmt service run -n echo -d '{"b": null}'""").result == {"got": {"b": None}}
    assert echo.run("""%mlmgmt service run -n echo -d {"b": None}""").result == {"got": {"b": None}}
    echo.run("tags = ['x', 'y']; path = __import__('pathlib').Path('model.bin')")
    assert echo.run("%mlmgmt model register -m {path} --tag {tags}").result.tags == ["x", "y"]


def test_names_of_a_function_are_known_in_it(echo: Notebook) -> None:
    echo.run("""
service = "nothing"

def ask(service, numbers):
    doubled = %mlmgmt service run -n {service} -d {[2 * number for number in numbers]}
    same = %mlmgmt service run -n $service -d numbers
    return doubled, same
""")
    assert echo.run("ask('echo', [1, 2])").result == ({"got": [2, 4]}, {"got": [1, 2]})


def test_cells(echo: Notebook, environment: Path) -> None:
    assert echo.run('%%mlmgmt service run -n echo\n{"a": [1,\n 2]}').result == {"got": {"a": [1, 2]}}
    assert echo.run("%%mlmgmt service run -n echo\n{'a': (1, None)}").result == {"got": {"a": [1, None]}}
    made = echo.run("%%mlmgmt manifest create\nmanifest-name: long\ndriver: score.py\ndependency: [model.bin]\n").result
    assert (made.name, [asset.id for asset in made.assets]) == ("long", ["driver", "model.bin"])
    wrong = echo.attempt("%%mlmgmt manifest create\n- a\n- b\n").error
    assert "the cell must be a YAML mapping of flags" in str(wrong)
    switched = "no-wait: true\nverbose: false\nreason: 2026-01-01\nreplicas: 1\n"
    poller = echo.run(f"%%mlmgmt service update -n echo\n{switched}").result
    assert isinstance(poller, Poller)
    poller.result(30)
    assert echo.run("%mlmgmt service show -n echo").result.last_change.reason == "2026-01-01"
    assert "the command is missing" in str(echo.attempt("%%mlmgmt\nservice list\n").error)


def test_driver_cell(notebook: Notebook, environment: Path) -> None:
    (environment / "sample.json").write_text('{"x": 2}')
    good = "def init():\n    pass\n\ndef run(body):\n    import json\n    return json.loads(body)['x'] * 21\n"
    checked = notebook.run(f"%%mlmgmt driver made.py --check sample.json\n{good}").result
    assert (environment / "made.py").read_text() == good
    assert checked.result == 42
    assert "run(body)" in notebook.shown(checked)
    notebook.run("sample = {'x': 3}")
    assert notebook.run(f"%%mlmgmt driver made.py --check $sample\n{good}").result.result == 63
    wrong = notebook.attempt(
        "%%mlmgmt driver made.py --check $sample\ndef run(body):\n    a = 1\n    return a / 0\n"
    ).error
    assert "made.py, line 3 (line 4 of the cell): `return a / 0`: ZeroDivisionError" in str(wrong)
    wrong = notebook.attempt("%%mlmgmt driver made.py\ndef run(body)\n    return 1\n").error
    assert "line 1 (line 2 of the cell): `def run(body)`" in str(wrong)


def test_creates_return_the_poller(echo: Notebook) -> None:
    cell = echo.run("poller = %mlmgmt service update -n echo -z 1")
    poller = echo.shell.user_ns["poller"]
    assert isinstance(poller, Poller)
    assert poller.done()
    assert "service Succeeded" in cell.out
    assert echo.shown(poller).startswith("service echo [Succeeded]\n")
    assert "scoring URL" in echo.shown(poller, "text/html")
    services = echo.run("%mlmgmt service list").result
    assert list(services.columns[:4]) == ["name", "state", "id", "scoring_uri"]
    assert services["scoring_uri"][0] in echo.shown(services)
    assert "compute_resource_id" in services
    assert "compute_resource_id" not in echo.shown(services, "text/html")
    echo.run("poller = %mlmgmt service update -n echo -z 1 --no-wait")
    token = echo.shell.user_ns["poller"].continuation_token()
    watched = echo.run(f"%mlmgmt operation watch {token}").result
    assert watched.result().name == "echo"
    assert echo.complete("%mlmgmt operation watch ")[0] == token


def test_failures_raise_and_are_short(notebook: Notebook) -> None:
    cell = notebook.attempt("%mlmgmt model show -m no-such-model\nafter = 1")
    assert isinstance(cell.error, errors.NotFoundError)
    assert "after" not in notebook.shell.user_ns
    assert "Traceback" not in cell.out
    lines = [line for line in cell.out.splitlines() if line]
    assert lines == [
        "NotFoundError: no model has the name 'no-such-model'",
        "`%mlmgmt model list` lists the existing models.",
    ]
    assert "Traceback" in notebook.attempt("%mlmgmt model show -m no-such-model --debug").out
    shown = notebook.run("%mlmgmt last-error").result
    assert "no model has the name" in shown
    assert "Traceback" in shown
    caught = "try:\n    %mlmgmt model lst\nexcept ValueError as error:\n    message = str(error)"
    notebook.run(caught)
    assert "Did you mean `model list`?" in notebook.shell.user_ns["message"]


@pytest.mark.parametrize("mode", ["Plain", "Context", "Verbose", "Minimal"])
def test_lines_of_an_error_in_every_mode(notebook: Notebook, mode: str) -> None:
    notebook.run(f"%xmode {mode}")
    shown = notebook.attempt("%mlmgmt service lst").out
    notebook.run("%xmode Context")
    assert "`service list`?\n`%mlmgmt service -h` lists" in shown


def test_requests_of_a_list_are_shown(notebook: Notebook) -> None:
    assert "GET http://127.0.0.1" in notebook.run("%mlmgmt model list --verbose").out


def test_failed_operation(notebook: Notebook, environment: Path) -> None:
    (environment / "broken.py").write_text("def run(body)\n    return 1\n")
    cell = notebook.attempt("%mlmgmt service create -n broken -f broken.py")
    assert isinstance(cell.error, errors.OperationFailed)
    assert "broken.py" in cell.out
    assert cell.out.endswith("`%mlmgmt service logs -n broken` shows the log.\n")
    shown = notebook.run("%mlmgmt last-error").result
    assert "SyntaxError: expected ':'" in shown.partition("Traceback")[2], "the driver's traceback"
    assert "poller.py" not in shown, "not that of the client"
    notebook.run("%mlmgmt service delete -n broken")


def test_keys_stay_out_of_the_notebook(echo: Notebook) -> None:
    cell = echo.run("keys = %mlmgmt service keys -n echo")
    keys = echo.shell.user_ns["keys"]
    key = keys.primary_key
    assert len(key) > 20
    everything = cell.out + repr(keys) + str(keys) + echo.shown(keys) + echo.shown(keys, "text/html")
    everything += (
        echo.run("%mlmgmt service keys -n echo -o json").result + echo.run("%mlmgmt service usage -n echo").result.curl
    )
    assert key not in everything
    shown = echo.run("%mlmgmt service keys -n echo --show")
    assert key in shown.out
    assert "keep them out of files" in shown.out
    assert key not in echo.shown(shown.result)


def test_help(notebook: Notebook) -> None:
    assert "service create" in notebook.run("%mlmgmt").out
    assert "usage: %mlmgmt service create" in notebook.run("%mlmgmt service create -h").out
    assert "usage: %mlmgmt service create" in notebook.run("%mlmgmt service create?").out
    assert "usage: %mlmgmt service COMMAND" in notebook.run("%mlmgmt service?").out
    assert "%load_ext mlmgmt_nb" in str(notebook.attempt("%mlmgmt?").out)


def test_displays(echo: Notebook) -> None:
    service = echo.run("%mlmgmt service show -n echo").result
    markup, text = echo.shown(service, "text/html"), echo.shown(service)
    for part in (
        service.id,
        service.scoring_uri,
        service.image.id,
        service.manifest.id,
        service.models[0].id,
        "Succeeded",
    ):
        assert part in markup
        assert part in text
    assert f'<a href="{service.scoring_uri}"' in markup
    model = echo.run("%mlmgmt model register -m model.bin -n '<b>x</b>'").result
    assert "<b>x</b>" not in echo.shown(model, "text/html")
    assert "&lt;b&gt;x&lt;/b&gt;" in echo.shown(model, "text/html")
    echo.run("%mlmgmt service run -n echo -d 1")
    read = "%mlmgmt service logs -n echo"
    log = eventually(lambda: '"status":200' in (log := echo.run(read).result) and log, what="the line of a request")
    assert re.search(r"^[\d:.]{12}  200 +[\d.]+ ms  \S+$", echo.shown(log), re.MULTILINE), "times are read by people"
    assert '"status"' not in echo.shown(log)
    assert '\\"status\\":200' in echo.shown(echo.run("%mlmgmt service logs -n echo -o json").result)
    assert "source" in echo.shown(echo.run("%mlmgmt config show").result)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%mlmgmt serv", ["service"]),
        ("x = %mlmgmt model ", ["register", "show", "list", "archive", "unarchive"]),
        ("  %%mlmgmt service cr", ["create"]),
        ("%mlmgmt service create --if-exists ", ["update", "reuse", "fail"]),
        ("%mlmgmt service create -f sc", ["score.py"]),
        ("%mlmgmt service create -n a --autoscale-e", ["--autoscale-enabled"]),
        ("%mlmgmt service show realtime -n ec", ["echo"]),
        ("%mlmgmt service show -i ec", ["echo"]),
        ("%mlmgmt model show -m mod", ["model"]),
        ("%mlmgmt config set ou", ["output"]),
    ],
)
def test_completion(echo: Notebook, text: str, expected: list[str]) -> None:
    echo.run("%mlmgmt service list")
    assert echo.complete(text) == expected


def test_completion_is_silent_offline(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLMGMT_HOME", str(environment / "nothing"))
    notebook = Notebook()
    assert notebook.complete("%mlmgmt model show -m mod") == ["mod"]
    assert not (environment / "nothing").exists()
    notebook.run("%unload_ext mlmgmt_nb")


def test_completion_does_not_wait_for_a_slow_server(notebook: Notebook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        notebook.run(
            f"import os; os.environ['MLMGMT_BASE_URL'] = 'http://127.0.0.1:{silent.getsockname()[1]}/accounts/x'"
        )
        notebook.complete("%mlmgmt model sh")
        started = time.monotonic()
        assert notebook.complete("%mlmgmt model show -m mod") == ["mod"]
        assert time.monotonic() - started < 20  # the client itself waits for 30 seconds
    notebook.run("del os.environ['MLMGMT_BASE_URL']")


def test_profiles_lead_to_other_accounts(notebook: Notebook, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLMGMT_HOME")
    endpoint = local.find(home)
    assert endpoint is not None
    other = endpoint.base_url.rpartition("/")[0] + "/other"
    monkeypatch.setenv("MLMGMT_TOKEN", endpoint.token_file.read_text().strip())
    notebook.run(f"%mlmgmt account create -n embedded --home {home}")
    notebook.run("%mlmgmt model register -m model.bin -n only-here")
    notebook.run(f"%mlmgmt account create -n other --base-url {other}")
    assert len(notebook.run("%mlmgmt model list -n only-here").result) == 0
    assert len(notebook.run("%mlmgmt model list -n only-here --profile embedded").result) == 1
    assert len(notebook.run("%mlmgmt model list -n only-here").result) == 0
    shown = {row["name"]: row for row in notebook.run("%mlmgmt config show").result.rows}
    assert shown["base_url"]["value"] == other
    assert "[profiles.other]" in str(shown["base_url"]["source"])
    assert shown["token"]["value"] == "***"
    notebook.run("%mlmgmt account set -n embedded")
    assert len(notebook.run("%mlmgmt model list -n only-here").result) == 1


def test_extension_comes_and_goes(notebook: Notebook) -> None:
    matchers = len(notebook.shell.Completer.custom_matchers)
    notebook.run("%reload_ext mlmgmt_nb")
    assert len(notebook.shell.Completer.custom_matchers) == matchers
    notebook.run("%mlmgmt config show")
    notebook.run("%unload_ext mlmgmt_nb")
    assert len(notebook.shell.Completer.custom_matchers) == matchers - 1
    assert notebook.attempt("%mlmgmt config show").error is not None or "not found" in notebook.attempt("%mlmgmt").out
    notebook.run("%load_ext mlmgmt_nb")


def test_loading_is_light() -> None:
    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell()\n"
        "shell.run_line_magic('load_ext', 'mlmgmt_nb')\n"
        "heavy = ('pandas', 'azure.identity', 'ipywidgets', 'requests', 'msgspec', 'sqlalchemy')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_run_all_twice(notebook: Notebook) -> None:
    """A notebook that is run again updates its service; nothing fails on what exists, and a model stays one version."""
    cells = [
        "%reload_ext mlmgmt_nb",
        "%%mlmgmt driver twice.py --check {sample}\ndef run(body):\n    return body\n",
        "model = %mlmgmt model register -m model.bin -n twice",
        "%mlmgmt manifest create -n twice -f twice.py -i {model.id}",
        "%mlmgmt image create -n twice --manifest-id twice",
        "%mlmgmt service create -n twice -f twice.py -i {model.id}",
        "answer = %mlmgmt service run -n twice -d {sample}",
    ]
    notebook.run("sample = {'x': 1}")
    for _ in range(2):
        for cell in cells:
            notebook.run(cell)
        assert notebook.shell.user_ns["model"].version == 1
        assert notebook.shell.user_ns["answer"] == {"x": 1}
    notebook.run("%mlmgmt service delete -n twice")


def test_scoring_test_of_a_frame_and_a_function(echo: Notebook) -> None:
    echo.run("import pandas as pd")
    echo.run("cases = pd.DataFrame({'a': [1, 2]})")
    echo.run("def right(given, answer): return True")
    assert echo.run("report = %mlmgmt service test -n echo --cases {cases} --expect {right} --requests 4").error is None
    assert echo.run("report.summary['passed']").result == 4
    assert "Passed" in echo.run("report.to_html()").result
    # A function may be named without braces; a column is named even where a variable has its name.
    assert echo.run("%mlmgmt service test -n echo --cases cases --expect right").result.summary["passed"] == 2
    echo.run("a = lambda given, answer: False\na = cases['a']")
    assert echo.run("%mlmgmt service test -n echo --cases cases --expect a").result.summary["requests"] == 2
    assert "p95_ms" in echo.shown(echo.run("report").result)
    assert "Passed" in echo.shown(echo.run("report").result, "text/html")


def test_scoring_test_in_the_background(echo: Notebook) -> None:
    started = echo.run("%mlmgmt service test -n echo --cases {[[1]]} --duration 60 --rate 50 --no-wait").result
    assert not started.done()
    started.stop()
    assert started.result(30).partial
    refused = echo.attempt("%mlmgmt service test -n echo --cases {[[1]]} --no-wait --assert-ok")
    assert "result().assert_ok()" in refused.out
