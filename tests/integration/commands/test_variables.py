"""Environment variables and secrets from the shell, against the real service and one without the extension."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from mlmgmt_nb import connect
from mlmgmt_nb.errors import UsageError
from tests.integration.commands.test_shell import Shell, home, shell

__all__ = ["home", "shell"]

DRIVER = "import json, os\n\ndef run(body):\n    return {name: os.environ.get(name) for name in json.loads(body)}\n"
SECRET = "hunter2-and-more"


def test_create_update_show(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "score.py").write_text(DRIVER)
    (tmp_path / "vars.env").write_text("A=file\nB=2\n")
    monkeypatch.setenv("TOKEN_HERE", SECRET)
    create = ("service", "create", "-n", "env-1", "-f", "score.py", "-r", "python", "-o", "json")
    refused = shell(*create, "--env", "PATH=x")
    assert (refused.code, "environment.PATH: PATH is reserved" in refused.err) == (2, True), refused.err
    flags = ("--env", "A=1", "--env-file", "vars.env", "--secret", "TOKEN=env:TOKEN_HERE")
    made = shell(*create, *flags)
    assert made.json["environment"] == {"A": "1", "B": "2"}
    assert made.json["secrets"] == ["TOKEN"]
    run = ("service", "run", "-n", "env-1", "-d", json.dumps(["A", "B", "TOKEN"]), "-o", "json")
    assert shell(*run).json == {"A": "1", "B": "2", "TOKEN": SECRET}
    changed = shell("service", "update", "-n", "env-1", "--env", "A=one", "--remove-env", "TOKEN", "-o", "json")
    assert (changed.json["environment"], changed.json["secrets"]) == ({"A": "one", "B": "2"}, [])
    assert shell(*run).json == {"A": "one", "B": "2", "TOKEN": None}
    for output in ("table", "json", "tsv", "csv"):
        shown = shell("service", "show", "-n", "env-1", "-o", output)
        assert SECRET not in shown.out + shown.err


def test_from_python(shell: Shell, home: Path, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(DRIVER)
    with connect(home=home) as ws:
        service = ws.deploy("env-2", driver=tmp_path / "score.py", environment={"A": "1"}, secrets={"TOKEN": SECRET})
        assert (service.environment, service.secrets) == ({"A": "1"}, ["TOKEN"])
        assert SECRET not in repr(service)
        after = ws.services.update(service, environment={"A": None}, secrets={"TOKEN": "rotated"}).result()
        assert (after.environment, after.secrets) == ({}, ["TOKEN"])
        assert ws.services.run(after, ["A", "TOKEN"]) == {"A": None, "TOKEN": "rotated"}
        for wrong in ({"A": 1}, {1: "A"}, "A=1", {"PATH": SECRET}):
            with pytest.raises(UsageError) as refused:
                ws.services.update(service, secrets=wrong)  # type: ignore[arg-type]
            assert SECRET not in str(refused.value)


class _Without(BaseAdapter):
    """Stands before a service and takes the extension away, as a server of 2017 has none."""

    def __init__(self) -> None:
        super().__init__()
        self._adapter = requests.adapters.HTTPAdapter()
        self.sent: list[str] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.sent.append(f"{request.method} {request.path_url.partition('?')[0].rpartition('/')[2]}")
        if self.sent[-1] == "GET extensions":
            answer = requests.Response()
            answer.status_code, answer._content, answer.request, answer.url = 404, b"{}", request, request.url or ""
            return answer
        return self._adapter.send(request, *args, **options)

    def close(self) -> None:
        self._adapter.close()


def test_a_server_without_the_extension_is_not_sent_any(shell: Shell, home: Path, tmp_path: Path) -> None:
    adapter = _Without()
    with connect(home=home, adapter=adapter) as ws:
        for attempt in (
            lambda: ws.deploy("env-3", driver=tmp_path / "score.py", secrets={"TOKEN": SECRET}),
            lambda: ws.services.create("env-3", "some-image", environment={"A": "1"}),
        ):
            adapter.sent.clear()
            with pytest.raises(UsageError, match="this server does not support environment variables"):
                attempt()
            assert adapter.sent == ["GET extensions"]
        for resources in (ws.models, ws.manifests, ws.images):
            with pytest.raises(UsageError, match="archive: this server does not support archives of"):
                resources.archive("some-name")
