"""The client against the real embedded service."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlmgmt_nb import errors
from mlmgmt_nb.client import Application, Poller, Workspace
from mlmgmt_nb.contract import Asset, Image, Model, TargetRuntime
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema
from tests.support.waiting import DEADLINE, eventually

PYTHON = TargetRuntime(properties={}, runtime_type="Python")


ANSWERED = '/score","status":200'


def _complete(log: str) -> str:
    return log if log.count(ANSWERED) >= 3 and " ended" in log else ""


def test_deploy_then_update(ws: Workspace, echo: Path) -> None:
    steps: list[str] = []
    first = ws.deploy(
        "echo",
        model=echo / "model.bin",
        driver=echo / "score.py",
        model_name="echo-model",
        tags=["prod"],
        timeout=DEADLINE,
        on_step=lambda step, seconds: steps.append(step),
        num_replicas=1,
    )
    assert steps == ["model", "manifest", "image", "service"]
    assert first.state == "Succeeded"
    assert ws.services.run("echo", {"x": [1, None]}) == {"model": "one", "got": {"x": [1, None]}}
    keys = ws.services.keys("echo")

    (echo / "model.bin").write_text("two")
    second = ws.deploy("echo", model=echo / "model.bin", driver=echo / "score.py", model_name="echo-model")
    assert (second.id, second.scoring_uri) == (first.id, first.scoring_uri)
    assert ws.services.keys("echo") == keys
    assert ws.services.run(second, {})["model"] == "two"
    assert [model.version for model in ws.models.list(name="echo-model")] == [2, 1]
    assert ws.models.get("echo-model").version == 2
    assert [model.version for model in ws.models.list(tag="prod", name="echo-model")] == [1]
    history = ws.deployments.list(service="echo").to_frame()
    assert list(history["expired_at"].isna()) == [True, False]
    assert ws.deployments.get(history["id"][0]).service_name == "echo"

    replaced = ws.services.regenerate_key("echo", "Primary")
    assert replaced.primary_key != keys.primary_key
    assert replaced.secondary_key == keys.secondary_key
    assert ws.services.run("echo", {})["model"] == "two"
    assert "[mlmgmt] deployed" in ws.services.logs("echo").text
    # The lines of requests come a moment after their answers, and the end of the replica before the update takes one.
    log = eventually(lambda: _complete(ws.services.logs("echo").text), what="the whole log")
    assert log.count(ANSWERED) == 3
    part = ws.services.logs("echo", tail=1)
    assert part.text.count("\n") == 1
    rest = ws.services.logs("echo", offset=part.next_offset)  # lines that were written meanwhile, if any
    assert part.text + rest.text in ws.services.logs("echo").text
    assert rest.next_offset == part.next_offset + len(rest.text.encode())
    assert second.image
    assert "built in" in ws.images.build_log(second.image).text
    # Run three times by now; those before the update were counted by a replica that has ended.
    eventually(lambda: ws.services.metrics("echo").requests == 3, what="the count of the requests")
    metrics = ws.services.metrics(second)
    assert (metrics.ready, metrics.wanted, metrics.failures) == (1, 1, 0)
    assert 0 < (metrics.percentile(50) or 0) < DEADLINE
    with pytest.raises(errors.ConflictError, match="service 'echo' already exists"):
        ws.deploy("echo", driver=echo / "score.py", if_exists="fail")
    assert ws.services.delete("echo") is True
    assert ws.services.delete("echo") is False


def test_data_frames(ws: Workspace, tmp_path: Path) -> None:
    driver = tmp_path / "score.py"
    driver.write_text("def run(frame):\n    return (frame['a'] * frame['b']).tolist()\n")
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 0.25]})

    def run(frame: pd.DataFrame) -> None: ...

    schema = tmp_path / "service_schema.json"
    generate_schema(run, inputs={"frame": SampleDefinition(DataTypes.PANDAS, frame)}, filepath=str(schema))
    ws.deploy("frames", driver=driver, schema=schema, timeout=DEADLINE)
    assert ws.services.run("frames", frame) == [0.5, 0.5]
    assert ws.services.run("frames", {"frame": frame}) == [0.5, 0.5]
    sample = ws.services.swagger("frames")["definitions"]["ServiceInput"]["example"]
    assert ws.services.run("frames", sample) == [0.5, 0.5]
    with pytest.raises(errors.ScoringError, match="b") as caught:
        ws.services.run("frames", frame[["a"]])
    assert caught.value.status_code == 400
    ws.services.delete("frames")


def test_driver_that_fails(ws: Workspace, tmp_path: Path) -> None:
    driver = tmp_path / "score.py"
    driver.write_text("def run(body):\n    raise ValueError('not today')\n")
    ws.deploy("moody", driver=driver, timeout=DEADLINE)
    with pytest.raises(errors.DriverError, match="not today") as caught:
        ws.services.run("moody", {})
    request_id = caught.value.request_id
    # The log comes from the replica by a pipe of its own.
    eventually(lambda: all(part in ws.services.logs("moody").text for part in ("Traceback", request_id)))
    ws.services.delete("moody")


def test_driver_that_does_not_load(ws: Workspace, tmp_path: Path) -> None:
    driver = tmp_path / "score.py"
    driver.write_text("def run(body)\n    return body\n")
    with pytest.raises(errors.OperationFailed) as caught:
        ws.deploy("broken", driver=driver, timeout=DEADLINE)
    error = caught.value
    assert "score.py" in str(error)
    assert error.operation.state == "Failed"
    assert error.log_uri
    ws.services.delete("broken")


def test_folders_keep_their_names(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "weights.txt").write_text("7")
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "__init__.py").write_text("FACTOR = 6\n")
    (tmp_path / "notes.txt").write_text("n")
    (tmp_path / "score.py").write_text(
        "import helpers\n"
        "def run(body):\n"
        "    return int(open('model/deep/weights.txt').read()) * helpers.FACTOR, open('notes.txt').read()\n"
    )
    ws.deploy(
        "folders",
        model=tmp_path / "model",
        driver=tmp_path / "score.py",
        dependencies=[tmp_path / "helpers", tmp_path / "notes.txt"],
        timeout=DEADLINE,
    )
    assert ws.services.run("folders", {}) == [42, "n"]
    assert ws.models.get("model").unpack is True
    ws.services.delete("folders")


def test_a_deployment_without_a_model_has_no_step_for_it(ws: Workspace, tmp_path: Path) -> None:
    steps: list[str] = []
    (tmp_path / "score.py").write_text("def run(body):\n    return body\n")
    ws.deploy("plain", driver=tmp_path / "score.py", timeout=DEADLINE, on_step=lambda step, seconds: steps.append(step))
    assert steps == ["manifest", "image", "service"]
    ws.services.delete("plain")


def test_upload_in_parts_with_little_memory(ws: Workspace, tmp_path: Path) -> None:
    size = 70 * 2**20
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.write(os.urandom(2**20))
        file.truncate(size)
    progress: list[int] = []
    tracemalloc.start()
    model = ws.models.register(path, progress=lambda sent, total: progress.append(sent))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert progress == sorted(progress)
    assert progress[-1] == size
    assert peak < 4 * 2**20 + 100 * len(progress)
    reported: list[int] = []
    again = ws.models.register(path, new_version=True, progress=lambda sent, total: reported.append(sent))
    assert (again.url, again.version) == (model.url, (model.version or 0) + 1)
    assert len(reported) <= 1 < len(progress)  # the service has the file: it is not sent again


def test_pages_of_the_real_service(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_text("m")
    made = [ws.models.register(tmp_path / "m.bin", "paged", description=f"number {n}").id for n in range(5)]
    listed = ws.models.list(name="paged", count=2)
    assert [model.id for model in listed] == made[::-1]
    pages = listed.by_page()
    first = next(pages)
    assert len(first.value) == 2
    ws.models.register(tmp_path / "m.bin", "paged", new_version=True)
    rest = [model.id for page in listed.by_page(first.continuation_token) for model in page.value]
    assert rest == made[2::-1]
    frame = listed.to_frame()
    assert list(frame["version"]) == [6, 5, 4, 3, 2, 1]
    assert str(frame["created_at"].dtype) == "datetime64[us, UTC]"


def test_poller_of_another_process(ws: Workspace, echo: Path) -> None:
    asset = Asset(id="driver", url=(echo / "score.py").as_uri(), mime_type="text/x-python")
    manifest = ws.manifests.register("by-hand", driver_program="driver", assets=[asset], target_runtime=PYTHON)
    assert ws.manifests.get("by-hand").id == manifest.id
    token = ws.images.create("by-hand", manifest).continuation_token()
    resumed: Poller[Image] = Poller.from_continuation_token(ws, token)
    image = resumed.result(DEADLINE)
    assert image.name == "by-hand"
    assert ws.operations.get(token).state == "Succeeded"
    assert [found.id for found in ws.images.list(manifest_id=manifest.id)] == [image.id]


def test_what_the_service_refuses(ws: Workspace) -> None:
    asset = Asset(id="driver", url="file:///x/score.py", mime_type="text/x-python")
    with pytest.raises(errors.ApiError, match="11111111-2222-3333-4444-555555555555"):
        ws.manifests.register(
            "x",
            driver_program="driver",
            assets=[asset],
            target_runtime=PYTHON,
            model_ids=["11111111-2222-3333-4444-555555555555"],
        )
    with pytest.raises(errors.BadRequestError, match="driverProgram"):
        ws.manifests.register("x", driver_program="other", assets=[asset], target_runtime=PYTHON)
    for get in (ws.models.get, ws.manifests.get, ws.images.get, ws.services.get, ws.operations.get, ws.deployments.get):
        with pytest.raises(errors.NotFoundError):
            get("11111111-2222-3333-4444-555555555555")


def test_an_operation_is_cancelled(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("import time\ndef init(): time.sleep(600)\ndef run(body): return 1\n")
    manifest = ws.manifests.create("never-ready", Application(driver=tmp_path / "score.py"))
    image = ws.images.create("never-ready", manifest)
    built = image.result(DEADLINE)
    with pytest.raises(errors.ConflictError, match="has already ended: Succeeded"):
        ws.operations.cancel(image.operation_id)
    service = ws.services.create("never-ready", built)
    assert ws.operations.cancel(service.operation_id).state == "Cancelled"
    ended = "cancelled by a request; the operation of the service ended Cancelled"
    with pytest.raises(errors.OperationFailed, match=ended):
        service.result(DEADLINE)
    with pytest.raises(errors.NotFoundError, match="no operation"):
        ws.operations.cancel("00000000-0000-0000-0000-000000000000")
    ws.services.delete("never-ready")


def test_operations_are_listed(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def run(body): return 1\n")
    manifest = ws.manifests.create("listed", Application(driver=tmp_path / "score.py"))
    pollers = [ws.images.create("listed", manifest) for _ in range(3)]
    for poller in pollers:
        poller.result(DEADLINE)
    started = [poller.operation_id for poller in reversed(pollers)]
    assert ws.operations.known[:3] == started
    pages = ws.operations.list(count=2).by_page()
    first = next(pages)
    assert [operation.id for operation in [*first.value, *next(pages).value]][:3] == started
    assert first.value[0] == ws.operations.get(started[0])


def test_the_same_content_makes_no_new_version(ws: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "same.bin"
    file.write_text("seven")
    first = ws.models.register(file, "same", tags=["a"], description="one")
    reused: list[Model] = []
    assert ws.models.register(file, "same", on_reuse=reused.append) == first
    assert ws.models.register(file, "same", tags=["a"], description="one", on_reuse=reused.append) == first
    assert reused == [first, first]
    # Whatever else is asked for is not lost.
    others: list[dict[str, Any]] = [
        {"tags": ["b"]},
        {"tags": []},
        {"description": "two"},
        {"mime_type": "application/x-other"},
        {"unpack": True},
        {"new_version": True},
    ]
    for expected, asked in enumerate(others, start=2):
        assert ws.models.register(file, "same", **asked, on_reuse=reused.append).version == expected, asked
    # So is another file name, which the driver opens it by; and content that an older version has.
    file = file.rename(tmp_path / "other.bin")
    assert ws.models.register(file, "same").version == 8
    file.write_text("eight")
    assert ws.models.register(file, "same").version == 9
    file.write_text("seven")
    assert ws.models.register(file, "same").version == 10
    assert len(reused) == 2
    assert ws.models.register(file, "another").version == 1


def test_the_same_folder_makes_no_new_version(ws: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "a.bin").write_text("a")
    first = ws.models.register(folder)
    assert ws.models.register(folder) == first
    (folder / "b.bin").write_text("b")
    assert ws.models.register(folder).version == (first.version or 0) + 1


def test_what_is_registered_at_once_is_all_there(ws: Workspace, tmp_path: Path) -> None:
    """Several may find no version yet: each gets one with the content, and none is lost."""
    (tmp_path / "raced.bin").write_text("raced")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ws.models.register(tmp_path / "raced.bin"), range(8)))
    listed = {model.id: model for model in ws.models.list(name="raced")}
    assert {model.id for model in made} == set(listed)
    assert len({model.version for model in listed.values()}) == len(listed)
    assert len({model.url for model in listed.values()}) == 1
    assert ws.models.register(tmp_path / "raced.bin").version == len(listed)


@pytest.mark.parametrize("thing", [object(), {"a": 1}, b"model.pkl", 7, len], ids=lambda thing: type(thing).__name__)
def test_what_is_no_path_says_what_to_do(ws: Workspace, echo: Path, thing: Any) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("path_or_url", lambda: ws.models.register(thing, "thing")),
        ("model", lambda: ws.deploy("thing", model=thing, driver=echo / "score.py")),
        ("model", lambda: ws.deploy("thing", model=[echo / "model.bin", thing], driver=echo / "score.py")),
        ("driver", lambda: ws.deploy("thing", driver=thing)),
        ("schema", lambda: ws.deploy("thing", driver=echo / "score.py", schema=thing)),
        ("conda", lambda: ws.deploy("thing", driver=echo / "score.py", conda=thing)),
        ("dependencies", lambda: ws.deploy("thing", driver=echo / "score.py", dependencies=[thing])),
        ("driver", lambda: ws.manifests.create("thing", Application(driver=thing))),
    ]
    for field, call in calls:
        with pytest.raises(UsageError, match="neither a path nor a URL") as caught:
            call()
        assert caught.value.field == field
        assert caught.value.fix
    assert ws.services.find("thing") is None
    assert list(ws.models.list(name="thing")) == []
