"""The layer of packages: the same bytes wherever the state folder and the Python of the service are."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import os
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.service.building.built_image import ImageBuild
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.docker.dockerfile import PACKAGES, Recipe
from mlmgmt_nb.service.building.oci.assembly import Assembly
from mlmgmt_nb.service.building.oci.blobs import BlobStore
from mlmgmt_nb.service.building.packages.environments import Environments
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE
from mlmgmt_nb.service.building.packages.requirements import RequirementSet
from mlmgmt_nb.service.files.logs import Log
from tests.support.package_index import digest_of, wheel
from tests.unit.service.test_oci import base_of, tar

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = tar(
    (f"usr/local/bin/python{VERSION}", "elf"),
    ("usr/local/bin/python3->", f"python{VERSION}"),
    (f"usr/local/lib/python{VERSION}/os.py", ""),
)
LIBRARY = f"mlmgmt/environment/lib/python{VERSION}/site-packages"


def build(folder: Path, python: str, time: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, bytes]]:
    """Build the layer of a package that was sent along; return the key and digest, and the files by their paths.

    Args:
        folder: the state folder.
        python: the Python of the service.
        time: when the package was sent.
    """
    context = folder / "images" / "i"
    sent = wheel(context / PACKAGES, "tool", "1.0", "a tool")
    with zipfile.ZipFile(sent, "a") as archive:
        for name, content in {
            "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n",
            "tool-1.0.data/scripts/tool-old": "#!python\nprint(2)\n",
            "tool-1.0.data/scripts/tool-shell": "#!/bin/sh\necho 3\n",
        }.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    os.utime(sent, (time, time))
    kind, _, digest = digest_of(sent).partition(":")
    source = f'archive = {{ path = "{PACKAGES}/{sent.name}", hashes = {{ {kind} = "{digest}" }} }}'
    header = 'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "tool"\nversion = "1.0"\n'
    (context / LOCK_FILE).write_text(f"{header}{source}\n")
    monkeypatch.setenv("UV_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setattr(sys, "executable", python)
    log, blobs = Log(folder / "log"), BlobStore(folder / "blobs")
    image = ImageBuild(
        context=context,
        recipe=Recipe(),
        name="iris",
        version=1,
        requested=RequirementSet(),
        registry=None,
        log=log,
        cancellation=Cancellation({}),
    )
    assembly = Assembly(image, base_of(folder, log, BASE), blobs)
    layer = assembly.packages(Environments(folder / "environments"))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blobs.read(layer.content)))) as files:
        found = {each.name: files.extractfile(each).read() for each in files if each.isfile()}  # type: ignore[union-attr]
    return f"{assembly.packages_key} {layer.content.digest}", found


@pytest.mark.parametrize("name", ["venv", "x" * 130], ids=["short", "long"])
def test_packages_have_the_same_bytes_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also with a path of Python that is too long for the first line of a script."""
    other = tmp_path / name
    venv.create(other, with_pip=False, symlinks=True)
    first, files = build(tmp_path / "one", sys.executable, 10**9, monkeypatch)
    again, _ = build(tmp_path / "another", str(other / "bin" / "python"), 10**9 + 5, monkeypatch)
    assert first == again
    begins = {path.rpartition("/")[2]: text.partition(b"\n")[0] for path, text in files.items() if "/bin/tool" in path}
    python = b"#!/mlmgmt/environment/bin/python3"
    assert begins == {"tool": python, "tool-old": python, "tool-shell": b"#!/bin/sh"}


def test_the_list_of_files_of_a_package_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, files = build(tmp_path / "one", sys.executable, 10**9, monkeypatch)
    record = files[f"{LIBRARY}/tool-1.0.dist-info/RECORD"].decode()
    listed: dict[str, Any] = {row[0]: row[1] for row in csv.reader(record.splitlines())}
    known = {os.path.normpath(f"{LIBRARY}/{name}"): digest for name, digest in listed.items()}
    ours = {"mlmgmt/environment/pyvenv.cfg"}
    assert known.keys() == {name for name in files if not name.endswith(".pyc")} - ours
    assert "../../../bin/tool" in listed
    for name, digest in known.items():
        if digest:
            found = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={found}", name
