"""The shell's commands against the real embedded service."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mlmgmt_nb import local
from mlmgmt_nb.commands import main
from tests.support.waiting import eventually

DRIVER = "import json\n\ndef run(body):\n    return {'got': json.loads(body)}\n"


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Shell = Callable[..., Ran]


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("shell") / "home"
    yield home
    local.stop(home)


@pytest.fixture
def shell(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Run a command line in this process, in a folder with a driver and a model."""
    for name in ("MLMGMT_BASE_URL", "MLMGMT_TOKEN", "MLMGMT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLMGMT_HOME", str(home))
    monkeypatch.setenv("MLMGMT_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text(DRIVER)
    (tmp_path / "model.bin").write_text("m")

    def run(*words: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        return Ran(main(words, out, err), out.getvalue(), err.getvalue())

    return run


def test_models(shell: Shell) -> None:
    registered = shell(
        "model", "register", "--model", "model.bin", "--name", "m1", "--tag", "a", "--tag", "b", "-o", "json"
    )
    assert registered.json["tags"] == ["a", "b"]
    again = shell("model", "register", "-m", "model.bin", "-n", "m1", "--if-exists", "reuse", "-o", "json")
    assert again.json["id"] == registered.json["id"]
    same = shell("model", "register", "-m", "model.bin", "-n", "m1", "-o", "json")
    assert same.json["id"] == registered.json["id"]
    assert same.err == "model 'm1' version 1 has the same content, so no new version was created\n"
    forced = shell("model", "register", "-m", "model.bin", "-n", "m1", "--new-version", "-o", "json")
    assert (forced.json["version"], forced.err) == (2, "")
    assert shell("model", "show", "-m", "m1", "--query", "version", "-o", "tsv").out == "2\n"
    assert shell("model", "show", "-m", "m1", "--tag", "a", "--query", "version", "-o", "tsv").out == "1\n"
    table = shell("model", "list", "-n", "m1").out.splitlines()
    assert table[0].split() == ["name", "version", "tags", "age", "id"]
    assert len(table) == 4
    missing = shell("model", "show", "-m", "m1", "--tag", "nope")
    assert (missing.code, missing.out) == (1, "")
    assert "no model 'm1' has the tag 'nope'" in missing.err


def test_a_list_without_rows_is_no_silence(shell: Shell) -> None:
    """People read so; programs get an empty list or the header alone."""
    for words in (["model", "list", "-n", "none"], ["service", "list", "-o", "wide", "--model-name", "none"]):
        assert shell(*words) == (0, "", "No results.\n")
    assert shell("model", "list", "-n", "none", "-o", "json") == (0, "[]\n", "")
    tsv = shell("model", "list", "-n", "none", "-o", "tsv")
    assert (tsv.out.split("\t")[0], tsv.out.count("\n"), tsv.err) == ("id", 1, "")


def test_requests_of_a_list_are_shown(shell: Shell) -> None:
    listed = shell("model", "list", "-v", "-o", "json")
    assert "GET http://127.0.0.1" in listed.err
    assert "/models" in listed.err
    assert listed.json is not None


def test_archives(shell: Shell) -> None:
    for command in ("model archive", "manifest archive", "image archive"):
        missing = shell(*command.split(), "-n", "never-made")
        assert (missing.code, "has the" in missing.err, "'never-made'" in missing.err) == (1, True, True), missing
    shell("model", "register", "-m", "model.bin", "-n", "old")
    made = shell("manifest", "create", "-n", "old", "-f", "score.py", "-r", "python", "-i", "old", "-o", "json").json
    image = shell("image", "create", "-n", "old-image", "--manifest-id", made["id"], "-o", "json").json
    for group, name, version in (
        ("model", "old", made["modelIds"][0]),
        ("manifest", "old", made["id"]),
        ("image", "old-image", image["id"]),
    ):
        assert f"{group} {name!r} version 1 is archived." in shell(group, "archive", "-n", name).out
        assert version not in shell(group, "list", "-o", "tsv").out
        listed = shell(group, "list", "--all", "-o", "json").json
        assert [one["archived"] for one in listed if one["id"] == version] == [True]
        table = shell(group, "list", "--all").out.splitlines()
        assert "archived" in table[0]
        assert version in shell(group, "show", "-m" if group == "model" else "-i", version).out
    for group, name in (("model", "old"), ("manifest", "old"), ("image", "old-image")):
        assert f"{group} {name!r} version 1 is in lists again." in shell(group, "unarchive", "-n", name).out
    # The commands by their names: image unarchive, manifest unarchive, model unarchive.


def test_step_by_step(shell: Shell) -> None:
    manifest = shell(
        "manifest", "create", "--manifest-name", "steps", "-f", "score.py", "-m", "model.bin", "-o", "json"
    ).json
    assert shell("manifest", "show", "-i", "steps", "-o", "json").json == manifest
    assert [m["id"] for m in shell("manifest", "list", "-n", "steps", "-o", "json").json] == [manifest["id"]]

    built = shell("image", "create", "-n", "steps", "--manifest-id", "steps", "-o", "json").json
    assert built["creationState"] == "Succeeded"
    assert shell("image", "show", "-i", built["id"], "-o", "json").json["id"] == built["id"]
    assert built["id"] in shell("image", "list", "--manifest-id", manifest["id"]).out
    assert f"--image-id {built['id']}" in shell("image", "usage", "-i", built["id"]).out
    assert "built in" in shell("image", "log", "-i", built["id"], "--tail", "1").out

    started = shell(
        "service", "create", "realtime", "-n", "steps", "--image-id", built["id"], "--no-wait", "-o", "json"
    )
    operation = started.json["id"]
    assert f"mlmgmt operation watch {operation}" in started.err
    service = shell("operation", "watch", operation, "-o", "json").json
    assert service["state"] == "Succeeded"
    assert shell("operation", "show", "-i", operation, "--query", "state", "-o", "tsv").out == "Succeeded\n"

    assert operation in shell("operation", "list", "--query", "[].id", "-o", "tsv").out.split()
    too_late = shell("operation", "cancel", operation)
    assert too_late.code == 1
    assert "has already ended: Succeeded" in too_late.err

    updated = shell(
        "service", "update", "realtime", "-i", "steps", "-z", "1", "--image-id", built["id"], "-o", "json"
    ).json
    assert updated["scoringUri"] == service["scoringUri"]
    deployments = shell("deployment", "list", "-n", "steps", "-o", "json").json
    assert len(deployments) == 2
    assert shell("deployment", "show", "-i", deployments[0]["id"], "-o", "json").json == deployments[0]
    assert shell("service", "delete", "-n", "steps").out == "service steps is deleted\n"
    assert shell("service", "delete", "-n", "steps").out == "service steps does not exist\n"


def test_what_fails_names_the_command_that_shows_its_log(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("def init():\n    raise ValueError('no luck')\n\ndef run(body): ...\n")
    failed = shell("service", "create", "-n", "unlucky", "-f", "raises.py")
    assert failed.code == 1
    said = failed.err[failed.err.index("mlmgmt: ") :].splitlines()
    assert said[0] == "mlmgmt: ValueError: no luck (raises.py:2); the operation of the service ended Failed"
    assert said[1:3] == ['    File "raises.py", line 2, in init', "      raise ValueError('no luck')"]
    assert said[-1] == "`mlmgmt service logs -n unlucky` shows the log."
    assert "no luck" in shell("service", "logs", "-n", "unlucky").out

    (tmp_path / "wants.txt").write_text("no-such-package-of-mlmgmt==1 ; python_version < '4'\n--no-index\n")
    failed = shell("image", "create", "-n", "unbuilt", "-f", "score.py", "-p", "wants.txt")
    assert failed.code == 1
    command = failed.err.splitlines()[-1].removeprefix("`mlmgmt ").removesuffix("` shows the log.")
    assert command.startswith("image log -i ")
    assert "no-such-package-of-mlmgmt" in shell(*command.split()).out

    (tmp_path / "picky.py").write_text("def run(body):\n    raise ValueError('not ' + str(body))\n")
    assert shell("service", "create", "-n", "picky", "-f", "picky.py").code == 0
    failed = shell("service", "run", "-n", "picky", "-d", "1")
    assert failed.err.startswith("mlmgmt: ValueError: not ")
    command = failed.err.splitlines()[-1].removeprefix("`mlmgmt ").removesuffix("` has the traceback.")
    assert command.startswith("service logs -n picky --request-id ")
    eventually(lambda: "raise ValueError('not '" in shell(*command.split()).out)
    failed = shell("service", "run", "-n", "picky", "-d", "rows.json")
    assert failed.err.splitlines()[-1].startswith("For a file, give `-d @rows.json`. `mlmgmt service logs -n picky")


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("model register --model gone", "--model"),
        ("service create -n a-1 -f score.py -m gone", "--model-file"),
        ("service create -n a-1 -f gone", "--driver"),
        ("service create -n a-1 -f score.py -s gone", "--schema-file"),
        ("service create -n a-1 -f score.py -p gone", "--requirements"),
        ("service create -n a-1 -f score.py -c gone", "--conda-file"),
        ("service create -n a-1 -f score.py -d gone", "--dependency"),
    ],
)
def test_a_missing_file_is_told_by_its_flag(shell: Shell, line: str, flag: str) -> None:
    failed = shell(*line.split())
    assert failed.code == 2
    assert failed.err.startswith(f"mlmgmt: {flag}: file not found: gone\n")


def test_uploads_that_last_are_shown_on_a_terminal(home: Path, tmp_path: Path) -> None:
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(150 * 2**20)
    words = [sys.executable, "-m", "mlmgmt_nb.cli", "model", "register", "-m", str(tmp_path / "big.bin"), "-o", "json"]
    ours, theirs = os.openpty()
    environment = {**os.environ, "MLMGMT_HOME": str(home)}
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=120, check=False)
    shown = os.read(ours, 65536).decode()
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, shown
    assert json.loads(done.stdout)["name"] == "big"
    assert "\rupload big.bin: 100% of 157 MB" in shown
    assert "\rupload big.bin: 0% of 157 MB" in shown


class Forever(BaseHTTPRequestHandler):
    """A service whose operation never ends; `asked` is released at each look at it."""

    asked = threading.Semaphore(0)

    def do_GET(self) -> None:
        body = b'{"id": "op-1", "operationType": "Service", "state": "Running"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.asked.release()

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


def test_ctrl_c_tells_how_to_go_on(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Forever) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/accounts/test"
        words = [sys.executable, "-m", "mlmgmt_nb.cli", "operation", "watch", "op-1", "--base-url", url]
        environment = {**os.environ, "MLMGMT_CONFIG": str(tmp_path / "config.toml")}
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment) as process:
            for _ in range(3):  # by the third look it waits
                assert Forever.asked.acquire(timeout=60)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        server.shutdown()
    assert process.returncode == 130
    assert told == "\nThe operation continues; wait for it with `mlmgmt operation watch op-1`.\n"


def test_an_operation_is_cancelled(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("import time\ndef init(): time.sleep(600)\ndef run(body): return 1\n")
    started = shell("service", "create", "-n", "endless", "-f", "score.py", "--no-wait", "-o", "json")
    cancelled = shell("operation", "cancel", started.json["id"])
    assert cancelled.code == 0, cancelled.err
    assert "Cancelled" in cancelled.out
    assert shell("service", "delete", "-n", "endless").out == "service endless is deleted\n"


def test_one_step(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_text("of one step")
    made = shell("service", "create", "-n", "one", "-m", "one.bin", "-f", "score.py", "-r", "python", "-o", "json")
    assert made.json["state"] == "Succeeded"
    assert [line.split(":")[0] for line in made.err.splitlines()] == ["model", "manifest", "image"]
    again = shell("image", "create", "-n", "one", "-m", "one.bin", "-f", "score.py", "-r", "python", "-o", "json")
    assert [line.split(":")[0] for line in again.err.splitlines()] == [
        "model (one version 1, unchanged)",
        "manifest (one version 1, unchanged)",
    ]
    exists = shell("service", "create", "-n", "one", "-f", "score.py", "--if-exists", "fail")
    assert exists.code == 1
    assert exists.err == "mlmgmt: service 'one' already exists\nGive another name, or `--if-exists update`.\n"
    reused = shell("service", "create", "-n", "one", "-f", "score.py", "--if-exists", "reuse", "-o", "json")
    assert reused.json["id"] == made.json["id"]

    assert shell("service", "show", "realtime", "-i", made.json["id"], "-o", "json").json["name"] == "one"
    assert shell("service", "list", "--model-name", "one", "--query", "[].name", "-o", "tsv").out == "one\n"
    assert shell("service", "run", "-n", "one", "-d", '{"a": [1]}').json == {"got": {"a": [1]}}
    (tmp_path / "data.json").write_text('{"b": 2}')
    assert shell("service", "run", "realtime", "-i", "one", "-d", "@data.json").json == {"got": {"b": 2}}
    no_sample = shell("service", "run", "-n", "one")
    assert no_sample.code == 2
    assert no_sample.err == "mlmgmt: service 'one' has no sample\nGive data with -d.\n"
    assert "replica" in shell("service", "logs", "realtime", "-i", "one", "--tail", "5").out
    assert shell("service", "logs", "-n", "one", "--request-id", "no-such-request").out == ""
    logs = ("service", "logs", "-n", "one")
    eventually(lambda: '"status":200' in shell(*logs).out, what="the line of a request")
    screen = Screen()
    assert main(logs, screen, io.StringIO()) == 0
    assert re.search(r"^[\d:.]{12}  200 +[\d.]+ ms  \S+$", screen.getvalue(), re.MULTILINE), "people read it"
    assert '"status"' not in screen.getvalue()

    key = shell("service", "keys", "-n", "one", "--show", "--query", "primaryKey", "-o", "tsv")
    masked = shell("service", "keys", "-n", "one")
    assert key.out.strip() not in masked.out
    renewed = shell("service", "keys", "-n", "one", "--regen", "--key", "primary", "--show", "-o", "json")
    assert renewed.json["primaryKey"] != key.out.strip()
    assert "keep them out of files" in renewed.err

    usage = shell("service", "usage", "-n", "one").out
    curl = usage[usage.index("curl") : usage.index("import os")]
    assert renewed.json["primaryKey"] not in usage
    assert "{}" not in usage, "the driver may not take an empty body"
    (tmp_path / "body.json").write_text('{"c": 3}')
    environment = {**os.environ, "MLMGMT_KEY": renewed.json["primaryKey"], "NO_PROXY": "*"}
    python = subprocess.run(
        [sys.executable, "-c", usage[usage.index("import os") :]],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert python.stdout.strip() == "{'got': {'c': 3}}"
    assert "$MLMGMT_KEY" in curl
    shell("service", "delete", "-n", "one")


def test_scoring_tests(shell: Shell, tmp_path: Path) -> None:
    shell("service", "create", "-n", "tested", "-m", "model.bin", "-f", "score.py", "-r", "python")
    (tmp_path / "cases.json").write_text('[{"a": 1}, {"a": 2}]')
    report = shell("service", "test", "-n", "tested", "--cases", "@cases.json", "--requests", "6", "--concurrency", "2")
    assert report.code == 0
    assert "requests               6" in report.out
    no_sample = shell("service", "test", "-n", "tested")
    assert no_sample.code == 2
    assert "service 'tested' has no sample\nGive cases with --cases." in no_sample.err
    (tmp_path / "cases.csv").write_text("a,got\n1,1\n")
    failed = shell(
        "service", "test", "-n", "tested", "--cases", "@cases.csv", "--expect", "got", "--junit", "j.xml", "--assert-ok"
    )
    assert failed.code == 1
    assert "case 0: expected 1, got" in failed.err
    assert 'failures="1"' in (tmp_path / "j.xml").read_text()
    assert shell("service", "test", "-n", "tested", "--cases", "[1]", "--duration", "0.2", "--rate", "50").code == 0
    gated = ["service", "test", "-n", "tested", "--cases", "[1]", "--requests", "30", "--junit", "gate.xml", "--gate"]
    assert shell(*gated, "errors == 0 and p95 < 60000").code == 0
    assert 'failures="0"' in (tmp_path / "gate.xml").read_text()
    inconclusive = shell(*gated, "agree > 0.9")  # nothing is expected of the answers
    assert inconclusive.code == 1
    assert "gate inconclusive: agree > 0.9 [30 requests; no agree was measured]" in inconclusive.err
    assert 'failures="1"' in (tmp_path / "gate.xml").read_text()
    assert shell(*gated, "open('x')").code == 2
    assert "works only in notebooks" in shell("service", "test", "-n", "tested", "--cases", "[1]", "--no-wait").err
    for wrong in (["--cases", "{"], ["--cases", "@none.csv"], ["--cases", "{}"], ["--junit", "no/such/j.xml"]):
        refused = shell("service", "test", "-n", "tested", *wrong)
        assert (refused.code, refused.out) == (2, "")


def test_collected_data(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "collects.py").write_text(
        "from azureml.datacollector import ModelDataCollector\n\n"
        "def run(body):\n    ModelDataCollector('m', identifier='in', feature_names=['a']).collect([int(body)])\n"
    )
    shell("service", "create", "-n", "collects", "-f", "collects.py", "--collect-model-data", "true")
    assert shell("service", "data", "-n", "collects", "-o", "json").json == []
    shell("service", "run", "-n", "collects", "-d", "7")
    query = ("service", "data", "-n", "collects", "--identifier", "in", "--query", "[].a", "-o", "tsv")
    eventually(lambda: shell(*query).out == "7\n", what="the row")
    (tmp_path / "train.csv").write_text("a,b\n1,2\n7,2\n")
    drift = ("service", "drift", "-n", "collects", "--sample", "train.csv")
    assert shell(*drift, "--query", "[identifier, collected_rows, notes[0]]", "-o", "json").json == [
        "in",
        1,
        "not collected: b",
    ]
    assert "  a  PSI " in shell(*drift).out


def test_failures_have_a_reason_and_a_code(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def run(body)\n    return 1\n")
    failed = shell("service", "create", "-n", "failing", "-f", "broken.py")
    assert failed.code == 1
    assert "broken.py" in failed.err
    assert "Traceback" not in failed.err
    assert shell("model", "register", "-m", "nope.bin").code == 2
    assert "file not found: nope.bin" in shell("model", "register", "-m", "nope.bin").err
    assert "Traceback" in shell("model", "register", "-m", "nope.bin", "--debug").err
    last = shell("last-error")
    assert (last.code, last.out) == (2, "")
    assert "last-error works in notebooks only" in last.err
    assert "`mlmgmt service logs -n NAME` shows the log of a service" in last.err
    shell("service", "delete", "-n", "failing")


def test_a_name_that_is_nearly_right_is_suggested(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text("def init():\n    pass\n\ndef run(body):\n    return body\n")
    (tmp_path / "forest.bin").write_bytes(b"model")
    shell("service", "create", "-n", "near-one", "-f", "near.py", "-m", "forest.bin")
    gone = shell("service", "delete", "-n", "naer-one")
    assert (gone.code, gone.out) == (0, "service naer-one does not exist. Did you mean `near-one`?\n")

    for kind, flag, wrong, right in (
        ("model", "-n", "forrest", "forest"),
        ("manifest", "-n", "naer-one", "near-one"),
        ("image", "-n", "naer-one", "near-one"),
    ):
        for verb in ("archive", "unarchive"):
            failed = shell(kind, verb, flag, wrong)
            assert f"no {kind} has the name '{wrong}'\nDid you mean '{right}'?" in failed.err

    (image,) = [one["id"] for one in shell("image", "list", "-o", "json").json if one["name"] == "near-one"]
    suggested = f"no image has the id 'naer-one'\nDid you mean '{image}', the newest image of the name 'near-one'?"
    assert suggested in shell("service", "create", "-n", "zzz", "--image-id", "naer-one").err
    assert suggested in shell("service", "propose", "-n", "near-one", "--image-id", "naer-one").err
    assert suggested in shell("service", "update", "-n", "near-one", "--image-id", "naer-one").err
    assert suggested in shell("image", "show", "-i", "naer-one").err

    failed = shell("service", "create", "-n", "zzz", "-m", "forrest", "-f", "near.py")
    assert failed.err.startswith(
        "mlmgmt: --model-file: file not found: forrest\nFor the registered model 'forest', give "
    )
    assert "`--model-id forest`" in failed.err
    shell("service", "delete", "-n", "near-one")


def test_a_service_at_zero_replicas_names_its_update(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "asleep.py").write_text("def init():\n    pass\n\ndef run(body):\n    return body\n")
    shell("service", "create", "-n", "asleep", "-f", "asleep.py", "-z", "0")
    failed = shell("service", "run", "-n", "asleep", "-d", "[1]")
    assert "This service is scaled to zero replicas." in failed.err
    assert "`mlmgmt service update -n asleep -z 1` starts a replica." in failed.err
    shell("service", "delete", "-n", "asleep")


def test_a_profile_that_is_chosen_can_be_made(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLMGMT_PROFILE", "soon")
    assert "`account create -n soon` creates this one" in shell("account", "list").err
    assert shell("account", "create", "-n", "soon").code == 0
    assert '"soon"' in shell("account", "list", "-o", "json").out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("config set output xml", "output: 'xml' is not valid.\nUse one of table, wide, json, tsv, csv."),
        ("config set base-url nope", "base_url: 'nope' is not an http or https URL\nGive http(s)://HOST/"),
        (
            "account create -n wrong --base-url nope",
            "base_url: 'nope' is not an http or https URL\nGive http(s)://HOST/",
        ),
    ],
)
def test_a_wrong_setting_is_not_kept(shell: Shell, words: str, error: str) -> None:
    ran = shell(*words.split())
    assert ran.code == 2
    assert ran.err.startswith(f"mlmgmt: {error}")
    assert "wrong" not in shell("account", "list").out
    assert "nope" not in shell("config", "show").out


def test_the_program_is_named_once(shell: Shell) -> None:
    assert shell("service", "show").err.startswith("mlmgmt service show: --service is missing\n")


def test_accounts_and_settings(shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLMGMT_HOME")
    created = shell("account", "modelmanagement", "create", "-n", "team", "--home", str(home), "-o", "json").json
    assert {row["name"]: row["value"] for row in created}["home"] == str(home)
    assert "exists" not in shell("account", "list").out
    assert shell("account", "create", "-n", "team").code == 2
    listed = shell("account", "list", "-o", "json").json
    assert [(row["name"], row["inUse"]) for row in listed] == [("default", ""), ("team", "*")]
    shown = {row["name"]: row["value"] for row in shell("account", "show", "-o", "json").json}
    assert shown["account"] == "default"
    assert shown["profile"] == "team"
    shell("config", "set", "output", "json")
    assert isinstance(shell("config", "show").json, list)
    shell("config", "unset", "output")
    assert shell("config", "show").out.startswith("name ")
    assert shell("env", "list", "--query", "[?inUse=='*'].id", "-o", "tsv").out == "local\n"
    assert shell("env", "set", "-i", "big").code == 2  # nothing has this name yet
    for name in ("big", "cluster"):
        assert shell("env", "alias", name, "local").code == 0
    shell("env", "set", "-i", "big")
    assert shell("env", "show", "--query", "[0].id", "-o", "tsv").out == "big\n"
    shell("env", "cluster")
    assert shell("env", "show", "--query", "[0].id", "-o", "tsv").out == "cluster\n"
    shell("env", "local")
    assert shell("env", "show", "--query", "[0].id", "-o", "tsv").out == "local\n"
    for name in ("big", "cluster"):
        assert shell("env", "delete", "-n", name).code == 0
    assert shell("account", "set", "-n", "nope").code == 2
    assert "default" in shell("account", "set", "-n", "default").out


def test_drivers(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text('{"x": 1}')
    checked = shell("driver", "score.py", "--check", "sample.json", "-o", "json").json
    assert (checked["arguments"], checked["hasInit"], checked["result"]) == (["body"], False, {"got": {"x": 1}})
    cases = {
        "x = 1\n": "has no function `run`",
        "def run(body)\n  pass\n": "bad.py, line 1: `def run(body)`",
        "import nothere\ndef run(body): pass\n": "bad.py, line 1: `import nothere`: ",
        "def run(body):\n    a = 1\n    return a / 0\n": "bad.py, line 3: `return a / 0`: ZeroDivisionError",
        "import os\ndef run(body):\n    os._exit(7)\n": "bad.py: no answer to the sample: ",
        "def init():\n    raise KeyError('x')\ndef run(body): pass\n": "bad.py, line 2: ",
    }
    for source, message in cases.items():
        (tmp_path / "bad.py").write_text(source)
        failed = shell("driver", "bad.py", "--check", "sample.json")
        assert failed.code == 2
        assert message in failed.err
    assert "not valid JSON" in shell("driver", "score.py", "--check", "score.py").err


def test_as_a_process(home: Path) -> None:
    environment = {**os.environ, "MLMGMT_HOME": str(home)}
    command = [sys.executable, "-m", "mlmgmt_nb.cli"]
    listing = [*command, "model", "list", "-n", "there-is-none"]
    listed = subprocess.run(listing, env=environment, capture_output=True, text=True, check=True)
    assert listed.stderr == "No results.\n"
    wrong = subprocess.run([*command, "model", "lst"], env=environment, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.splitlines()[0] == "mlmgmt: unknown command `mlmgmt model lst`. Did you mean `model list`?"


def test_pandas_is_not_needed(home: Path) -> None:
    code = (
        "import sys, io; from mlmgmt_nb.commands import main; main(['model', 'list'], io.StringIO());"
        "print([name for name in ('pandas', 'IPython', 'azure.identity', 'tomlkit') if name in sys.modules])"
    )
    environment = {**os.environ, "MLMGMT_HOME": str(home)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_model_file_needs_no_driver(shell: Shell, tmp_path: Path) -> None:
    import joblib
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"age": [1.0, 2.0, 8.0, 9.0]})
    model = LogisticRegression().fit(rows, ["low", "low", "high", "high"])
    joblib.dump(model, "churn.joblib")
    rows.to_csv("rows.csv", index=False)
    flags = ("-m", "churn.joblib", "--sample", "rows.csv", "--method", "predict_proba")

    written = shell("driver", "generate", *flags, "-o", "written")
    assert written.code == 0, written.err
    assert "answered 4 rows in a fresh process" in written.out
    assert "predict_proba(data)" in (tmp_path / "written" / "score.py").read_text()
    assert (
        "file not found: other.csv"
        in shell("driver", "generate", "-m", "churn.joblib", "--sample", "other.csv", "-o", "x").err
    )

    created = shell("service", "create", "-n", "churn", *flags)
    assert created.code == 0, created.err
    assert "package (joblib; answered 4 rows in a fresh process)" in created.err
    answer = shell("service", "run", "-n", "churn", "-d", json.dumps({"data": [{"age": 9.0}]}), "-o", "json")
    assert answer.json == model.predict_proba(rows.tail(1)).tolist()
    refused = shell("service", "create", "-n", "churn", *flags, "-f", "score.py")
    assert (refused.code, "sample: only models without a driver use it" in refused.err) == (2, True)
    assert shell("service", "delete", "-n", "churn").code == 0


WORDS = "WORD = 'yes'\n"
WITH_WORDS = "from words import WORD\n\ndef run(body):\n    return WORD\n"
BY_ITS_OWN_PATH = (
    "from pathlib import Path\n\nWORD = (Path(__file__).resolve().parent / 'words.py').read_text()\n\n"
    "def run(body):\n    return WORD\n"
)
OF_A_FOLDER = "from kit.deep import words\n\ndef run(body):\n    return words.WORD\n"
WITH_A_MODEL = "def init():\n    open('weights/model.bin').close()\n\ndef run(body):\n    return 1\n"
WITH_SETTINGS = "import os\n\nassert not [name for name in os.environ if name.startswith('MLMGMT_HOME')]\n\nrun = str\n"


@pytest.mark.parametrize(
    ("driver", "flags"),
    [
        (WITH_WORDS, []),
        (WITH_WORDS, ["-d", "words.py"]),
        (BY_ITS_OWN_PATH, []),
        (BY_ITS_OWN_PATH, ["-d", "words.py"]),
        (OF_A_FOLDER, []),
        (OF_A_FOLDER, ["-d", "kit"]),
        (WITH_A_MODEL, []),
        (WITH_A_MODEL, ["-m", "weights"]),
        (WITH_SETTINGS, []),
    ],
    ids=[
        "module",
        "module named",
        "own path",
        "own path, named",
        "folder",
        "folder named",
        "model",
        "model named",
        "env",
    ],
)
@pytest.mark.parametrize("place", [".", "elsewhere"])
def test_a_check_says_what_the_deployment_will(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, flags: list[str], place: str
) -> None:
    for name in ("kit/deep", "weights", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    for name, content in {"words.py": WORDS, "kit/deep/words.py": WORDS, "weights/model.bin": "1"}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "score.py").write_text(driver)
    monkeypatch.chdir(tmp_path / place)
    flags = [flag if flag.startswith("-") else str(tmp_path / flag) for flag in flags]
    checked = shell("driver", str(tmp_path / "score.py"), *flags)
    name = f"agree-{hashlib.sha256(tmp_path.name.encode()).hexdigest()[:8]}"
    made = shell("service", "create", "-n", name, "-f", str(tmp_path / "score.py"), *flags)
    shell("service", "delete", "-n", name)
    assert (checked.code == 0) == (made.code == 0), checked.err + made.err
    assert (checked.code == 0) == (bool(flags) or driver == WITH_SETTINGS)
    if checked.code and driver != OF_A_FOLDER:
        assert "only files that you name are sent along" in checked.err


def test_a_check_with_requirements_has_only_them(shell: Shell, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tiny_words-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_words.py", WORDS)
        wheel.writestr("tiny_words-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-words\nVersion: 1.0\n")
        wheel.writestr("tiny_words-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_words-1.0.dist-info/RECORD", "")
    (tmp_path / "requirements.txt").write_text("./tiny_words-1.0-py3-none-any.whl\n")
    (tmp_path / "score.py").write_text("import tiny_words\n\ndef run(body):\n    return tiny_words.WORD\n")
    (tmp_path / "sample.json").write_text("1")
    assert "No module named 'tiny_words'" in shell("driver", "score.py").err
    checked = shell("driver", "score.py", "-p", "requirements.txt", "--check", "sample.json", "-o", "json")
    assert checked.json["result"] == "yes"
    (tmp_path / "score.py").write_text("import pandas\n\ndef run(body):\n    return 1\n")
    assert shell("driver", "score.py").code == 0
    assert "No module named 'pandas'" in shell("driver", "score.py", "-p", "requirements.txt").err
    (tmp_path / "requirements.txt").write_text("./no-such-wheel.whl\n")
    assert "requirements: cannot be installed" in shell("driver", "score.py", "-p", "requirements.txt").err


def test_a_reader_that_has_ended_is_no_error(tmp_path: Path) -> None:
    """As in `mlmgmt status | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "mlmgmt_nb.cli", "stop", "--home", str(tmp_path)]
    try:
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
