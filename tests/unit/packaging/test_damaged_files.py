"""Model files and folders of others that are damaged or hostile: one sentence that names them, whatever the format."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mlmgmt_nb.errors import MlmgmtError, UsageError
from mlmgmt_nb.packaging import package
from mlmgmt_nb.packaging.flavours.registry import flavours

ENDINGS = sorted({ending for flavour in flavours() for ending in flavour.endings})
CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "text": b"not a model",
    "the start of its format": b"tree\n" + b'{"learner": ' * 3,
    "compressed text": gzip.compress(b"text" * 100),
    "a zip archive without its list": b"PK\3\4" + bytes(60) + b"PK\5\6" + b"\0\0\0\0\1\0\1\0\1\0\0\0\0\0\0\0\0\0",
    "half a pickle": b"\x80\x04\x95\xff\xff\0\0\0\0\0\0",
}
SAMPLE = [[1.0, 2.0]]
_LOADED_LATE = {".joblib", ".cbm"}
"""Endings of files that only the fresh process reads, which takes a second."""
DAMAGES = [
    *((ending, "a zip archive without its list") for ending in ENDINGS),
    *((ending, content) for ending in ENDINGS if ending not in _LOADED_LATE for content in ("nothing", "text")),
    (".pkl", "half a pickle"),
    (".pickle", "compressed text"),
    (".txt", "the start of its format"),
    (".json", "the start of its format"),
]


@pytest.mark.parametrize(("ending", "content"), DAMAGES)
def test_a_damaged_file(tmp_path: Path, ending: str, content: str) -> None:
    file = tmp_path / f"model{ending}"
    file.write_bytes(CONTENTS[content])
    with pytest.raises(MlmgmtError) as caught:
        package(file, sample=SAMPLE, to=tmp_path / "package")
    assert any(text in str(caught.value) for text in (file.name, "score.py", "not installed"))


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))])
FOLDERS: dict[str, dict[str, str]] = {
    "no mapping": {"MLmodel": "- a"},
    "not YAML": {"MLmodel": "a: ["},
    "nested too deeply": {"MLmodel": "[" * 20_000},
    "an impossible date": {"MLmodel": "a: 2001-99-99"},
    "a wrong tag": {"MLmodel": "a: !!timestamp x"},
    "flavors of another type": {"MLmodel": "flavors: [python_function]"},
    "a flavor of another type": {"MLmodel": "flavors: {python_function: 7}"},
    "an example that is not JSON": {
        "MLmodel": "flavors: {python_function: {}}\nsaved_input_example_info: {type: dataframe, artifact_path: e}",
        "e": "{",
    },
    "an example of another form": {
        "MLmodel": "flavors: {python_function: {}}\nsaved_input_example_info: {type: dataframe, artifact_path: e}",
        "e": "[1]",
    },
    "an empty conda file": {"MLmodel": "flavors: {python_function: {}}", "conda.yaml": ""},
    "a conda file of aliases": {
        "MLmodel": "flavors: {python_function: {}}",
        "conda.yaml": f"{BOMB}\ndependencies: [{{pip: [*a39]}}]",
    },
    "a model type that is not JSON": {"config.json": "{"},
    "a model type of another form": {"config.json": "7"},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_damaged_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file, content in FOLDERS[name].items():
        (folder / file).write_text(content)
    with pytest.raises(MlmgmtError) as caught:
        package(folder, to=tmp_path / "package")
    assert "Traceback" not in str(caught.value)


def test_an_example_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "private.json").write_text(json.dumps({"columns": ["secret"], "data": [["s3cret"]]}))
    info = "saved_input_example_info: {type: dataframe, artifact_path: ../private.json}"
    (folder / "MLmodel").write_text(f"flavors: {{python_function: {{}}}}\n{info}")
    with pytest.raises(UsageError) as caught:
        package(folder, to=tmp_path / "package")
    assert "s3cret" not in str(caught.value)
    assert all("s3cret" not in path.read_text() for path in (tmp_path / "package").rglob("*") if path.is_file())
