"""Mistakes of users through the client: each error says what is wrong, where, and how to fix it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests

from mlmgmt_nb import Workspace, connect, local
from mlmgmt_nb.contract import Asset, AutoScaler, ServiceResponse, TargetRuntime
from mlmgmt_nb.errors import (
    ConflictError,
    NotFoundError,
    OperationFailed,
    ScoringError,
    UnauthorizedError,
    UploadError,
    UsageError,
)
from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema

SUMS = "def init():\n    pass\n\ndef run(table):\n    return table.sum(axis=1).tolist()\n"


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    home = tmp_path_factory.mktemp("bad-input") / "home"
    try:
        with connect(home=home) as workspace:
            yield workspace
    finally:
        local.stop(home)


@pytest.fixture(scope="module")
def sums(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> ServiceResponse:
    """Return a service that takes a table of two columns."""
    folder = tmp_path_factory.mktemp("sums")
    (folder / "score.py").write_text(SUMS)
    sample = pd.DataFrame({"a": [1], "b": [0.5]})

    def run(table: pd.DataFrame) -> None: ...

    generate_schema(run, {"table": SampleDefinition(DataTypes.PANDAS, sample)}, filepath=folder / "schema.json")
    return ws.deploy("sums", driver=folder / "score.py", schema=folder / "schema.json")


@pytest.fixture
def driver(tmp_path: Path) -> Callable[[str], Path]:
    def write(source: str) -> Path:
        path = tmp_path / "score.py"
        path.write_text(source)
        return path

    return write


class TestFiles:
    def test_a_file_that_is_not_there(self, ws: Workspace, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"nowhere\.pkl"):
            ws.models.register(tmp_path / "nowhere.pkl")

    def test_an_empty_model(self, ws: Workspace, tmp_path: Path) -> None:
        (tmp_path / "empty.pkl").touch()
        with pytest.raises(UsageError, match=r"empty\.pkl.* empty"):
            ws.models.register(tmp_path / "empty.pkl")
        (tmp_path / "folder").mkdir()
        with pytest.raises(UsageError, match="folder"):
            ws.models.register(tmp_path / "folder")

    def test_a_folder_with_a_broken_link(self, ws: Workspace, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "weights.bin").write_text("1")
        (folder / "link.bin").symlink_to(folder / "gone.bin")
        with pytest.raises(UsageError, match=r"link\.bin"):
            ws.models.register(folder)

    def test_nothing_was_registered(self, ws: Workspace, tmp_path: Path) -> None:
        for name in ("nowhere", "empty", "folder", "model"):
            assert list(ws.models.list(name=name)) == []


class TestNamesAndIds:
    def test_a_name_with_spaces(self, ws: Workspace, driver: Callable[[str], Path]) -> None:
        with pytest.raises(UsageError, match="3 to 32 characters"):
            ws.deploy("my service", driver=driver(SUMS))

    def test_an_unknown_model_of_a_manifest(self, ws: Workspace) -> None:
        runtime = TargetRuntime(properties={}, runtime_type="Python")
        assets = [Asset(id="driver", url="file:///score.py")]
        with pytest.raises(NotFoundError, match=r"\$\.modelIds\[0\].*nope"):
            ws.manifests.register(
                "m", driver_program="driver", assets=assets, target_runtime=runtime, model_ids=["nope"]
            )

    def test_a_model_that_is_neither_a_file_nor_registered(self, ws: Workspace, driver: Callable[[str], Path]) -> None:
        with pytest.raises((UsageError, NotFoundError), match="no-such-model"):
            ws.deploy("iris", model="no-such-model", driver=driver(SUMS))


BROKEN = {
    "a syntax error": ("def run(body:\n    pass\n", "SyntaxError"),
    "no run": ("def init():\n    pass\n", r"no function run\(\)"),
    "a crash in init": (
        "def init():\n    open('weights.bin')\n\ndef run(body):\n    return 1\n",
        "FileNotFoundError.*weights.bin",
    ),
}


class TestDrivers:
    @pytest.mark.parametrize("fault", BROKEN)
    def test_one_that_does_not_load(self, ws: Workspace, driver: Callable[[str], Path], fault: str) -> None:
        source, said = BROKEN[fault]
        with pytest.raises(OperationFailed, match=said) as caught:
            ws.deploy("broken", driver=driver(source))
        assert caught.value.operation is not None
        assert caught.value.log_uri is not None
        assert "score.py" in ws.services.logs("broken").text
        ws.services.delete("broken")

    def test_one_that_prints_100_mb(self, ws: Workspace, driver: Callable[[str], Path]) -> None:
        source = (
            "def init():\n    for n in range(10 ** 6):\n        print(n, 'x' * 92)\n\ndef run(body):\n    return 1\n"
        )
        service = ws.deploy("prints", driver=driver(source))
        assert ws.services.run(service, "1") == 1
        assert "999999 xxx" in ws.services.logs(service, tail=10).text
        ws.services.delete(service)


class TestScoring:
    def test_a_wrong_key(self, sums: ServiceResponse) -> None:
        answer = requests.post(sums.scoring_uri or "", data="{}", headers={"authorization": "Bearer x"}, timeout=30)
        assert answer.status_code == 401
        assert "key" in answer.json()["message"]

    def test_a_body_of_100_mb(self, ws: Workspace, sums: ServiceResponse) -> None:
        with pytest.raises(ScoringError, match="larger than") as caught:
            ws.services.run(sums, b"x" * 10**8)
        assert caught.value.status_code == 413

    def test_what_is_not_json(self, ws: Workspace, sums: ServiceResponse) -> None:
        with pytest.raises(ScoringError, match="not JSON") as caught:
            ws.services.run(sums, b"{")
        assert caught.value.status_code == 400

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            ({"table": [{"a": 1, "c": 2.0}]}, "b"),
            ({"table": [{"a": "one", "b": 2.0}]}, "a"),
            ({"tabel": [{"a": 1, "b": 2.0}]}, "tabel"),
            ({}, "table"),
        ],
    )
    def test_wrong_columns_and_arguments(
        self, ws: Workspace, sums: ServiceResponse, data: dict[str, object], said: str
    ) -> None:
        with pytest.raises(ScoringError, match=said) as caught:
            ws.services.run(sums, data)
        assert (caught.value.status_code, caught.value.code) == (400, "BadInput")

    def test_it_still_answers(self, ws: Workspace, sums: ServiceResponse) -> None:
        assert ws.services.run(sums, pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})) == [1.5, 3.5]


class TestSettings:
    def test_a_fixed_number_of_replicas_and_an_autoscaler(self, ws: Workspace, sums: ServiceResponse) -> None:
        with pytest.raises(UsageError, match="mutually exclusive"):
            ws.services.update(sums, num_replicas=2, autoscaler=AutoScaler(autoscale_enabled=True))

    def test_a_utilization_of_101(self, ws: Workspace, sums: ServiceResponse) -> None:
        with pytest.raises(UsageError, match=r"targetUtilization.*100"):
            ws.services.update(sums, autoscaler=AutoScaler(autoscale_enabled=True, target_utilization=101))

    def test_a_service_that_is_there(self, ws: Workspace, sums: ServiceResponse) -> None:
        with pytest.raises(ConflictError, match="sums"):
            ws.services.create("sums", sums.image or "")


def test_a_token_that_is_wrong(ws: Workspace) -> None:
    with connect(base_url=ws.base_url, token="wrong") as other, pytest.raises(UnauthorizedError, match="token"):
        list(other.models.list())


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root may mount a small disk")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Received data is kept, the error says so, and the same call resumes once there is space again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    model = tmp_path / "model.bin"
    model.write_bytes(bytes(range(256)) * 4 * 2**12 * 3)
    try:
        with connect(home=disk / "home") as workspace:
            with pytest.raises(UploadError, match=r"(?s)disk.*full.*free some space"):
                workspace.models.register(model)
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            seen: list[int] = []
            registered = workspace.models.register(model, progress=lambda sent, _: seen.append(sent))
            assert seen[0] > 0
            stored = disk / "home" / "artifacts"
            assert [
                path for path in stored.rglob("*") if path.is_file() and path.stat().st_size == model.stat().st_size
            ]
            assert registered.version == 1
    finally:
        local.stop(disk / "home")
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_shell_says_it_in_two_lines(tmp_path: Path) -> None:
    status = subprocess.run(
        ["mlmgmt", "status", "--home", str(tmp_path / "none"), "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert status.returncode == 1
    assert status.stdout == ""
    assert len(status.stderr.splitlines()) == 2
    assert "Traceback" not in status.stderr
    home = tmp_path / "home"
    try:
        with connect(home=home) as workspace:
            known = subprocess.run(
                ["mlmgmt", "status", "--home", str(home), "-o", "json"], capture_output=True, text=True, check=True
            )
            described = json.loads(known.stdout)
            assert described["baseUrl"] == workspace.base_url
            assert described["baseUrl"].endswith("/accounts/default")
            assert set(described) == {"baseUrl", "pid", "home", "tokenFile", "version"}
            second = subprocess.run(
                ["mlmgmt", "serve", "--home", str(home)], capture_output=True, text=True, check=False, timeout=60
            )
            assert second.returncode == 1
            assert "already running" in second.stderr
            assert str(described["pid"]) in second.stderr
    finally:
        local.stop(home)
