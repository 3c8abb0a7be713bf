"""Files that a service or a replica reads back, with any content: one sentence that names the file, or mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlmgmt_nb import local
from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.scoring.application.application import find_application
from mlmgmt_nb.scoring.application.model_files import read_config
from mlmgmt_nb.scoring.errors import LoadError
from mlmgmt_nb.service.building.built_image import BuiltImage
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.lock import Lock
from mlmgmt_nb.service.files.home import Home

GARBAGE = {
    "empty": b"",
    "no text": b"\xff\0\xfe{",
    "no UTF-8 in text": b'{"a": "\xff"}',
    "cut off": b'{"driver": "sc',
    "a list": b"[1]",
    "null": b"null",
    "a number": b"1e400",
    "nested too deeply": b"[" * 100_000,
    "members of other types": b'{"driver": 5, "models": [1], "reference": {}, "pid": [], "baseUrl": 5, "tokenFile": 1}',
}


def _application(folder: Path) -> object:
    (folder / "score.py").write_text("def run(body): ...")
    return find_application(str(folder))


# file -> reads it, the error
READERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "docker.json": (BuiltImage.of, BuildError),
    "mlmgmt-app.json": (_application, LoadError),
    "model_config_map.json": (read_config, LoadError),
    "service.json": (local.find, LocalServiceError),
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("name", READERS)
def test_garbage_is_one_sentence_that_names_the_file_and_the_fix(tmp_path: Path, name: str, garbage: str) -> None:
    read, error = READERS[name]
    (tmp_path / name).write_bytes(GARBAGE[garbage])
    with pytest.raises(error) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert name in message
    assert "is damaged" in message
    assert "again" in message
    assert "msgspec" not in message
    assert "JSONDecodeError" not in message


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_lock_that_is_damaged_is_not_used(garbage: str) -> None:
    assert not Lock(GARBAGE[garbage].decode(errors="replace")).is_valid


@pytest.mark.parametrize("garbage", [*GARBAGE.values(), b"short", b"x" * 5000], ids=[*GARBAGE, "short", "too long"])
def test_a_token_that_is_damaged_is_replaced(tmp_path: Path, garbage: bytes) -> None:
    """Also one that does not fit into a header: nobody could sign in with it."""
    home = Home(tmp_path)
    home.token_file.write_bytes(garbage)
    token = home.token()
    assert token.encode() != garbage
    assert len(token) < 100
    assert Home(tmp_path).token() == token
