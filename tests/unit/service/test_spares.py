"""Warm starts: a replica that a spare becomes is like one that was started for its application."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from mlmgmt_nb.contract import ComputeResource
from mlmgmt_nb.contract.extensions import ServiceCreate
from mlmgmt_nb.scoring.distribution import copy_runtime
from mlmgmt_nb.scoring.process.spare import provides_loaded_module
from mlmgmt_nb.service.compute.base import Launch
from mlmgmt_nb.service.compute.processes.spares import Preparation, Spares, is_read_at_start
from mlmgmt_nb.service.compute.processes.starting import OF_RUNTIME, ReplicaStart, start_replica
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.reconciling.environment import driver_environment
from tests.support.waiting import eventually

DRIVER = """\
import json, os, stat, sys
def init():
    numbers = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    files = [os.readlink(path).partition(":")[0] for path in numbers if os.path.lexists(path)]
    seen = {"cwd": os.getcwd(), "path": sys.path, "environ": dict(os.environ), "modules": sorted(sys.modules),
            "files": sorted(files), "argv": sys.argv[1:3], "umask": os.umask(0o077),
            "main": sys.modules["__main__"].__spec__.name, "group": os.getpgid(0) == os.getpid()}
    with open("seen.json", "w") as file:
        json.dump(seen, file)
def run(body):
    return 1
"""
SECONDS = 60.0


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server(("127.0.0.1", 0)) as private:
        yield [own, private]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of packages that the processes search."""
    folder = tmp_path / "more" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("AML_APP_ROOT", "of another application")
    monkeypatch.setenv("MLMGMT_TOKEN", "a secret of this service")
    return folder


@pytest.fixture
def spares(tmp_path: Path, packages: Path) -> Iterator[Spares]:
    made = Spares(tmp_path / "scratch", {"MLMGMT_OWNER": "me"}, SECONDS)
    yield made
    made.close()


def launch(folder: Path, **environment: str) -> Launch:
    """Return the launch of an application that notes what it sees."""
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "score.py").write_text(DRIVER)
    copy_runtime(folder / "runtime")
    return Launch(
        service_id="s",
        deployment_id="d",
        name="local",
        context=folder,
        interpreter=sys.executable,
        key_digests=(),
        environment=environment,
        data=folder / "data",
        slots=1,
        allowed_hosts=("127.0.0.1",),
        cpus=None,
        memory_bytes=None,
        log=Log(folder / "logs"),
    )


def warm(spares: Spares, wanted: Launch, listeners: list[socket.socket]) -> ReplicaStart:
    """Return a replica that a spare has become."""
    spares.prepare(Preparation(sys.executable))
    return assigned(spares, wanted, listeners)


def assigned(spares: Spares, wanted: Launch, listeners: list[socket.socket]) -> ReplicaStart:
    """Return a replica that a spare has become, as soon as the spare is known."""
    deadline = time.monotonic() + SECONDS
    while (start := spares.start(wanted, listeners)) is None:
        assert time.monotonic() < deadline
    return start


def seen(start: ReplicaStart, wanted: Launch) -> dict[str, Any]:
    """Return what the driver of a replica saw, and end the replica."""
    with start.control as control, start.process:
        control.settimeout(SECONDS)
        descriptors = ",".join(map(str, start.descriptors))
        control.sendall(b'{"type":"start","sockets":["service","private"],"descriptors":[%b]}\n' % descriptors.encode())
        first = control.recv(65536)
        is_private = b'"movesSockets":true' in first
        start.process.kill()
        assert start.process.stdout is not None
        assert b'"ready"' in first, start.process.stdout.read()
        assert is_private, first
    found: dict[str, Any] = json.loads((wanted.context / "app" / "seen.json").read_text())
    return found


def test_a_warm_replica_sees_what_a_cold_one_sees(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket]
) -> None:
    wanted = launch(tmp_path / "image", SERVICE_NAME="local", CHOSEN="by the user")
    start = warm(spares, wanted, listeners)
    got = seen(start, wanted)
    cold = seen(start_replica(wanted, listeners, {"MLMGMT_OWNER": "me"}, start.mark), wanted)
    runtime = {str(tmp_path / "scratch"), str(wanted.context / "runtime")}
    assert [path for path in got["path"] if path not in runtime] == [p for p in cold["path"] if p not in runtime]
    assert got["environ"] == cold["environ"]
    assert got["environ"]["CHOSEN"] == "by the user"
    assert got["environ"]["AML_APP_ROOT"] == got["cwd"]
    assert "MLMGMT_TOKEN" not in got["environ"]
    of_spare = {f"mlmgmt_nb.scoring.process.{name}" for name in ("spare", "spare_messages")}
    assert set(got["modules"]) - set(cold["modules"]) <= of_spare
    assert {name: got[name] for name in ("cwd", "files", "argv", "umask", "group", "main")} == {
        name: cold[name] for name in ("cwd", "files", "argv", "umask", "group", "main")
    }


def test_a_spare_starts_over_if_packages_have_changed(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket], packages: Path
) -> None:
    spares.prepare(Preparation(sys.executable))
    wait_for_spare(imported="uvloop")
    (packages / "upgraded").mkdir()
    wanted = launch(tmp_path / "image")
    got = seen(warm(spares, wanted, listeners), wanted)
    assert str(wanted.context / "runtime") in got["path"]
    assert str(tmp_path / "scratch") not in got["path"]


def wait_for_spare(*, imported: str) -> psutil.Process:
    """Return the only spare, once it has loaded a package of native code."""
    deadline = time.monotonic() + SECONDS
    while True:
        assert time.monotonic() < deadline
        for spare in living():
            with contextlib.suppress(psutil.Error):
                if any(imported in each.path for each in spare.memory_maps()):
                    return spare


def living() -> list[psutil.Process]:
    """Return the spares that this process has started."""
    found = psutil.Process().children()
    return [child for child in found if "mlmgmt_nb.scoring.process.spare" in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def wait_for_none() -> None:
    deadline = time.monotonic() + SECONDS
    while living():
        assert time.monotonic() < deadline


def test_a_spare_is_used_once_and_only_for_its_runtime_and_python(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket]
) -> None:
    wanted = launch(tmp_path / "image")
    other_runtime = launch(tmp_path / "older")
    with (tmp_path / "older" / "runtime" / "mlmgmt_nb" / "__init__.py").open("a") as file:
        file.write("# of another version\n")
    spares.prepare(Preparation(sys.executable))
    spares.prepare(Preparation(sys.executable))
    wait_for_spare(imported="uvloop")
    unsuitable = (
        other_runtime,
        msgspec.structs.replace(wanted, interpreter="/usr/bin/another-python"),
        msgspec.structs.replace(wanted, environment={"PYTHONHASHSEED": "1"}),
        msgspec.structs.replace(wanted, context=tmp_path / "missing"),
    )
    assert [spares.start(each, listeners) for each in unsuitable] == [None] * 4
    assert len(living()) == 1
    start = assigned(spares, wanted, listeners)
    assert spares.start(wanted, listeners) is None, "the next one is made later"
    with start.control, start.process:
        start.process.kill()
    died = Spares(tmp_path / "another", {}, SECONDS)
    died.prepare(Preparation(sys.executable))
    spare = wait_for_spare(imported="libc")
    spare.kill()
    psutil.wait_procs([spare], timeout=SECONDS)
    assert died.start(wanted, listeners) is None, "it ended before it was needed"
    died.close()


def test_a_deployment_does_not_wait_for_the_delay_of_the_next_spare(spares: Spares) -> None:
    spares.prepare(Preparation(sys.executable), delay=10 * SECONDS)
    assert not living()
    spares.prepare(Preparation(sys.executable))
    wait_for_spare(imported="libc")


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_spares_end_with_their_time_and_can_be_turned_off(tmp_path: Path, seconds: float) -> None:
    spares = Spares(tmp_path / "scratch", {}, seconds)
    spares.prepare(Preparation(sys.executable))
    if seconds:
        wait_for_spare(imported="libc")
    else:
        assert not living()
    wait_for_none()
    spares.close()


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1])
def test_none_is_left_by_a_service_that_ends(tmp_path: Path, moment: float) -> None:
    spares = Spares(tmp_path / "scratch", {}, SECONDS)
    spares.prepare(Preparation(sys.executable))
    time.sleep(moment)  # before, during or after the start of its process
    spares.close()
    assert not living()
    spares.prepare(Preparation(sys.executable, "a/local"))
    time.sleep(0.1)  # longer than a start takes
    assert not living()


@pytest.mark.parametrize("moment", [0.01, 0.03, 0.06, 0.1])
def test_a_request_while_a_spare_is_made_makes_no_second_one(spares: Spares, moment: float) -> None:
    spares.prepare(Preparation(sys.executable))
    time.sleep(moment)  # before, during or after the start of its process
    spares.prepare(Preparation(sys.executable))
    wait_for_spare(imported="libc")
    time.sleep(0.2)  # longer than the start of another one takes
    assert len(living()) == 1


def test_packages_are_imported_in_advance_for_one_service_only(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket]
) -> None:
    wanted = launch(tmp_path / "image", SERVICE_NAME="local")
    spares.prepare(Preparation(sys.executable, "a/local", ("colorsys", "not_installed_anywhere")))
    wait_for_spare(imported="uvloop")
    others = (
        {"account": "b"},
        {"account": "a", "name": "another"},
        {"account": "a", "memory_bytes": 2**30},
        {"account": "a", "secrets": {"OMP_NUM_THREADS": "1"}},
        {"account": "a", "environment": {"OMP_NUM_THREADS": "1"}},
    )
    assert [spares.start(msgspec.structs.replace(wanted, **other), listeners) for other in others] == [None] * 5
    start = assigned(spares, msgspec.structs.replace(wanted, account="a"), listeners)
    got = seen(start, wanted)
    assert "colorsys" in got["modules"]
    assert str(tmp_path / "scratch") in got["path"], "it did not start over"


@pytest.mark.parametrize("ended", [False, True])
def test_a_spare_that_waits_is_prepared_further(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket], ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlmgmt_nb.service.compute.processes.spares._NEXT_SECONDS", 10 * SECONDS)
    wanted = launch(tmp_path / "image", SERVICE_NAME="local")
    spares.prepare(Preparation(sys.executable))
    # Known, not only started: otherwise a second one would be made.
    eventually(lambda: spares._spares, SECONDS, "the spare")
    (waiting,) = living()
    if ended:
        waiting.kill()
        waiting.wait(SECONDS)
    spares.prepare(Preparation(sys.executable, "a/local", ("colorsys",)))
    if not ended:
        assert living() == [waiting]
    assert spares.start(msgspec.structs.replace(wanted, account="b"), listeners) is None
    start = assigned(spares, msgspec.structs.replace(wanted, account="a"), listeners)
    assert (start.process.pid == waiting.pid) is not ended
    assert "colorsys" in seen(start, wanted)["modules"]


@pytest.mark.parametrize("modules", [(), ("filecmp",)])
@pytest.mark.parametrize("is_early", [False, True])
def test_one_for_other_modules_of_the_service_ends(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket], modules: tuple[str, ...], is_early: bool
) -> None:
    """A deployment that failed prepared modules that the next one does not want."""
    wanted = msgspec.structs.replace(launch(tmp_path / "image", SERVICE_NAME="local"), account="a")
    spares.prepare(Preparation(sys.executable, "a/local", ("colorsys",)))
    if not is_early:  # otherwise it is still being made
        wait_for_spare(imported="uvloop")
    spares.prepare(Preparation(sys.executable, "a/another", ("colorsys",)))
    spares.prepare(Preparation(sys.executable, "a/local", modules))
    got = seen(assigned(spares, wanted, listeners), wanted)["modules"]
    assert "colorsys" not in got
    assert ("filecmp" in got) is bool(modules)
    another = msgspec.structs.replace(wanted, name="another")
    assert "colorsys" in seen(assigned(spares, another, listeners), another)["modules"]


def test_values_of_a_package_are_not_replaced_by_its_modules(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket], packages: Path
) -> None:
    (packages / "limits").mkdir()
    (packages / "limits" / "__init__.py").write_text("most = 10\n")
    for name in ("most", "least"):
        (packages / "limits" / f"{name}.py").write_text("")
    wanted = msgspec.structs.replace(launch(tmp_path / "image", SERVICE_NAME="local"), account="a")
    spares.prepare(Preparation(sys.executable, "a/local", ("limits", "limits.most", "limits.least", "limits.none")))
    found = [name for name in seen(assigned(spares, wanted, listeners), wanted)["modules"] if name.startswith("limits")]
    assert found == ["limits", "limits.least"]


def test_a_module_that_ends_the_process_does_not(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket], packages: Path
) -> None:
    (packages / "__pycache__").mkdir()  # otherwise the import changes the folder, as an installation does
    (packages / "ends.py").write_text("import colorsys\nraise SystemExit(3)\n")
    wanted = msgspec.structs.replace(launch(tmp_path / "image", SERVICE_NAME="local"), account="a")
    spares.prepare(Preparation(sys.executable, "a/local", ("ends", "filecmp")))
    assert {"colorsys", "filecmp"} <= set(seen(assigned(spares, wanted, listeners), wanted)["modules"])


def test_variables_of_a_package_that_is_hidden_do_not_stay(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket], packages: Path
) -> None:
    """A file of the application has the name of the package, so the replica starts over."""
    (packages / "sets.py").write_text("import os\nos.environ['OF_PACKAGE'] = 'set'\n")
    wanted = msgspec.structs.replace(launch(tmp_path / "image", SERVICE_NAME="local"), account="a")
    (wanted.context / "app" / "sets.py").write_text("")
    spares.prepare(Preparation(sys.executable, "a/local", ("sets",)))
    got = seen(assigned(spares, wanted, listeners), wanted)
    assert "sets" not in got["modules"]
    assert "OF_PACKAGE" not in got["environ"]
    assert got["environ"]["SERVICE_NAME"] == "local"


def test_code_that_was_edited_after_its_import_is_imported_again(
    tmp_path: Path, spares: Spares, listeners: list[socket.socket], packages: Path
) -> None:
    """Such as of a package that is installed with `pip install -e`: its folder of packages does not change."""
    (packages / "__pycache__").mkdir()
    own = tmp_path / "project"
    own.mkdir()
    (own / "edited.py").write_text("import colorsys\n")
    (packages / "edited.pth").touch()
    wanted = msgspec.structs.replace(launch(tmp_path / "image", SERVICE_NAME="local"), account="a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{packages}{os.pathsep}{own}")
        spares.prepare(Preparation(sys.executable, "a/local", ("edited",)))
        wait_for_spare(imported="uvloop")
        wait_for_import(own / "__pycache__")
        (own / "edited.py").write_text("import filecmp  # another size\n")
        start = assigned(spares, wanted, listeners)
    got = seen(start, wanted)["modules"]
    assert "edited" not in got, "the replica has started over"


def wait_for_import(folder: Path) -> None:
    """Wait until a module of this folder was compiled, and a moment more."""
    deadline = time.monotonic() + SECONDS
    while not list(folder.glob("*.pyc")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)


@pytest.mark.parametrize(
    ("variable", "is_suitable"), [("SERVICE_NAME", True), ("SERVICE_MODE", False), ("AML_X", False)]
)
def test_packages_see_the_variables_of_the_service(tmp_path: Path, variable: str, is_suitable: bool) -> None:
    wanted = msgspec.structs.replace(launch(tmp_path, **{variable: "x"}), account="a")
    assert Preparation(sys.executable, "a/local", ("colorsys",)).suits(wanted) is is_suitable


def test_variables_for_the_runtime_are_those_that_a_service_sets() -> None:
    spec = ServiceCreate(name="s", image_id="i", compute_resource=ComputeResource(id="local", type="Cluster"))
    assert set(driver_environment(spec, 1, "a storage")) == OF_RUNTIME


def test_spares_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spares of further Pythons end the oldest one."""
    # A link to the Python of an environment does not find its packages by itself, and its spare would end at once.
    monkeypatch.setenv("PYTHONPATH", sysconfig.get_path("purelib"))
    pythons = []
    for name in ("one", "two", "three"):
        pythons.append(tmp_path / name)
        pythons[-1].symlink_to(sys.executable)
    spares = Spares(tmp_path / "scratch", {}, SECONDS)
    for python in pythons:
        spares.prepare(Preparation(str(python)))
    deadline = time.monotonic() + SECONDS
    while {first for spare in living() for first in _command(spare)[:1]} != set(map(str, pythons[1:])):
        assert time.monotonic() < deadline
    spares.close()
    wait_for_none()


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("PYTHONHASHSEED", True), ("LD_PRELOAD", True), ("TZ", True), ("lc_all", True), ("MY_LD_", False), ("OMP", False)],
)
def test_variables_that_are_read_at_start(variable: str, expected: bool) -> None:
    assert is_read_at_start(variable) is expected


@pytest.mark.parametrize(
    ("name", "is_folder", "expected"),
    [
        ("json.py", False, True),
        ("json", True, True),
        ("json", False, False),
        ("json.txt", False, False),
        ("score.py", False, False),
        ("models", True, False),
    ],
)
def test_files_that_hide_a_loaded_module(tmp_path: Path, name: str, is_folder: bool, expected: bool) -> None:
    (tmp_path / name).mkdir() if is_folder else (tmp_path / name).touch()
    assert provides_loaded_module(str(tmp_path)) is expected
