"""Models in an image: by name and version, and in the working directory; links, no copies."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.contract import Asset, Manifest, Model, TargetRuntime
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.context import Context
from mlmgmt_nb.service.building.errors import BuildError


class _Fetcher:
    """Reads files of this machine, as the real fetcher reads an artifact."""

    def fetch(self, url: str, target: Path, *_: Any) -> None:
        target.write_bytes(Path(url).read_bytes())


class _Log:
    def line(self, text: str) -> bool:
        return bool(text)


def _context(folder: Path) -> Context:
    return Context(folder / "image", _Fetcher(), _Log(), Cancellation({}))  # type: ignore[arg-type]


def _model(name: str, url: Path, version: int = 1, **more: Any) -> Model:
    return Model(name=name, url=str(url), version=version, id=f"{name}-{version}", mime_type="x/y", **more)


def _archive(folder: Path, name: str, *members: str) -> Path:
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            (folder / "content").write_text(f"{name}:{member}")
            archive.add(folder / "content", member)
    return path


def test_layout(tmp_path: Path) -> None:
    (tmp_path / "final.pkl").write_text("7")
    context = _context(tmp_path)
    models = [
        _model("weights", tmp_path / "final.pkl", 3),
        _model("one", _archive(tmp_path, "one", "model/MLmodel", "model/a.txt"), unpack=True),
        _model("two", _archive(tmp_path, "two", "model/MLmodel", "other.txt"), 2, unpack=True),
        _model("a/b", _archive(tmp_path, "ab", "c.txt"), unpack=True),
    ]
    context.add_models(models)
    context.describe("s/g/a", models)
    root = context.app / "azureml-models"
    assert (root / "weights/3/final.pkl").read_text() == (context.app / "final.pkl").read_text() == "7"
    assert (root / "one/1/model/MLmodel").read_text() == "one:model/MLmodel"  # although two has a file with that name
    assert (root / "two/2/model/MLmodel").read_text() == "two:model/MLmodel"
    assert (context.app / "model/a.txt").read_text() == "one:model/a.txt"
    assert (context.app / "other.txt").read_text() == "two:other.txt"
    sizes = [path for path in context.app.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(sizes) == len({path.resolve() for path in context.app.rglob("*") if path.is_file()})  # no copies
    links = [os.readlink(path) for path in context.app.rglob("*") if path.is_symlink()]
    assert all(not os.path.isabs(link) for link in links)  # the folder is moved and copied to images
    noted = json.loads((context.app / "model_config_map.json").read_text())["models"]
    assert noted["weights"]["path"] == "azureml-models/weights/3/final.pkl"
    assert noted["one"]["versions"] == {"1": "azureml-models/one/1/model"}
    assert noted["two"]["path"] == "azureml-models/two/2"
    assert (context.app / noted["a/b"]["path"]).read_text() == "ab:c.txt"


def test_file_and_folder_of_one_name(tmp_path: Path) -> None:
    context = _context(tmp_path)
    models = [
        _model("one", _archive(tmp_path, "one", "x/y"), unpack=True),
        _model("two", _archive(tmp_path, "two", "x"), unpack=True),
    ]
    with pytest.raises(BuildError, match="model 'two': 'x' is both a file and a folder"):
        context.add_models(models)


@pytest.mark.parametrize("name", [".", "..", "...", "../up", "a/../../b"])
def test_names_stay_inside(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_text("1")
    context = _context(tmp_path)
    context.add_models([_model(name, tmp_path / "m.bin")])
    places = [path for path in tmp_path.rglob("m.bin") if path.parent != tmp_path and path.parent != context.app]
    assert [path.parents[2] for path in places] == [context.app / "azureml-models"]


@pytest.mark.parametrize("name", ["score.py", "mlmgmt-app.json", "model_config_map.json"])
def test_a_link_in_an_archive_does_not_redirect_a_file(tmp_path: Path, name: str) -> None:
    """It leads inside, to a file that does not exist yet: nothing may be written there through it."""
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, "elsewhere.py"
        archive.addfile(link)
    (tmp_path / "score.py").write_text("driver")
    assets = [
        Asset(id="links", url=str(tmp_path / "links.tar"), unpack=True, mime_type="x/y"),
        Asset(id="score", url=str(tmp_path / "score.py"), mime_type="x/y"),
    ]
    runtime = TargetRuntime(runtime_type="Python", properties={})
    manifest = Manifest(name="m", assets=assets, driver_program="score", target_runtime=runtime)
    context = _context(tmp_path)

    def build() -> None:
        context.add_assets(manifest)
        context.describe("s/g/a", [])

    with pytest.raises(BuildError, match=re.escape(name)) as caught:
        build()
    assert caught.value.code == "SameName"
    assert not (context.app / "elsewhere.py").exists()
