"""Parts of compute `docker` that need no engine: Dockerfiles, archives, names, and the discovery of an engine."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from mlmgmt_nb.service.building.archives import oci_archive
from mlmgmt_nb.service.building.built_image import BuiltImage, context_archive
from mlmgmt_nb.service.building.docker import dockerfile
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.conda import asks_for_conda, read_conda, read_content
from mlmgmt_nb.service.building.packages.python import Python
from mlmgmt_nb.service.docker_engine import Engine, EngineError


class TestDockerfile:
    def test_requirements_come_before_what_changes_often(self) -> None:
        recipe = dockerfile.Recipe(base="base:1", labels={"mlmgmt.models": 'a "b"'})
        lines = (dockerfile.requirements(recipe) + dockerfile.application(recipe)).splitlines()
        order = [
            next(n for n, line in enumerate(lines) if line.startswith(start))
            for start in (
                "FROM base:1",
                "COPY build/install.py",
                "RUN",
                "COPY runtime",
                "COPY --chown=1000:1000 app",
                "LABEL",
            )
        ]
        assert order == sorted(order)
        assert r'mlmgmt.models="a \"b\""' in lines[order[-1]]
        assert not any("micromamba" in line or "--java" in line for line in lines)

    def test_conda_and_java(self) -> None:
        recipe = dockerfile.Recipe(base="base:1", conda=True, java=True)
        text = dockerfile.requirements(recipe)
        assert "COPY --from=mambaorg/micromamba" in text
        assert "environment.yml" in text
        assert '"--java"' in text
        assert "/opt/conda/bin" in dockerfile.application(recipe)

    @pytest.mark.parametrize(
        ("text", "conda"),
        [
            ("dependencies: [python=3.11, pip, {pip: [six]}]", False),
            ("dependencies: [python=3.10]", True),
            ("dependencies: ['numpy>=2', {pip: [six]}]", True),
            ("dependencies: ['python']", False),
        ],
    )
    def test_when_conda_is_needed(self, tmp_path: Path, text: str, conda: bool) -> None:
        path = tmp_path / "environment.yml"
        path.write_text(text)
        assert asks_for_conda(read_conda(read_content(path)), "3.11") is conda


def test_an_archive_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        folder = tmp_path / str(number)
        (folder / "app" / "__pycache__").mkdir(parents=True)
        (folder / "app" / "__pycache__" / "x.pyc").write_bytes(b"x")
        (folder / "app" / "score.py").write_text("x")
        (folder / "app" / "score.py").chmod(0o600 if number else 0o666)
        BuiltImage("a/b:1", "sha256:x", "base").note(folder)
        buffer = io.BytesIO()
        context_archive(folder, buffer)
        made.append(buffer.getvalue())
    assert made[0] == made[1]
    with tarfile.open(fileobj=io.BytesIO(made[0])) as archive:
        assert archive.getnames() == ["app", "app/score.py"]
        assert archive.getmember("app/score.py").mode == 0o644


def test_what_an_image_is_pulled_by() -> None:
    pushed = BuiltImage("localhost:5000/team/iris:3", "sha256:i", "base", "sha256:d")
    assert pushed.pull_reference == "localhost:5000/team/iris@sha256:d"
    assert BuiltImage("mlmgmt/iris:3", "sha256:i", "base").pull_reference is None


@pytest.mark.parametrize(
    ("python", "platform"),
    [
        (Python("3.12", "arm64", "glibc"), "aarch64-unknown-linux-gnu"),
        (Python("3.11", "x86_64", ""), "x86_64-unknown-linux-musl"),
    ],
)
def test_the_platform_of_a_base_image(python: Python, platform: str) -> None:
    assert python.platform == platform


def test_only_the_configured_engine_is_tried(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:9: Connection refused.*apt-get install docker\.io"):
        Engine({"DOCKER_HOST": "tcp://127.0.0.1:9"}).check()


class TestOciArchives:
    """The archive of an engine that becomes an OCI archive."""

    DESCRIBED = json.dumps([{"Config": "c.json", "Layers": ["layer.tar"]}]).encode()
    WHOLE = gzip.compress(b"x" * 10_000, mtime=0)  # the bytes are names of tests, which are the same in each process

    @pytest.mark.parametrize(
        ("layer", "described"),
        [
            (b"\x1f\x8b\x08\0garbage", DESCRIBED),
            (WHOLE[:-9], DESCRIBED),
            (WHOLE[:15] + b"\xff" * 20, DESCRIBED),
            (b"\x1f\x8b\x07", DESCRIBED),
            (b"\x28\xb5\x2f\xfd1234", DESCRIBED),
            (b"", b"[]"),
            (b"", b"{"),
            (b"", b'[{"Config": "c.json", "Layers": [], "x": ' + b"[" * 30_000),
            (b"", b'[{"Config": "c.json", "Layers": ["../outside"]}]'),
            (b"", b'[{"Config": "c.json", "Layers": ["none"]}]'),
        ],
    )
    def test_a_damaged_archive_is_one_sentence(self, tmp_path: Path, layer: bytes, described: bytes) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "outside").touch()
        with pytest.raises(BuildError, match=r"archive of iris:1 cannot be used: .*") as caught:
            oci_archive([_saved(layer, described)], io.BytesIO(), tmp_path / "in", "iris:1")
        assert "\n" not in str(caught.value)

    def test_a_layer_is_written_uncompressed(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        target = io.BytesIO()
        oci_archive([_saved(self.WHOLE, self.DESCRIBED)], target, tmp_path / "in", "iris:1")
        target.seek(0)
        with tarfile.open(fileobj=target) as tar:
            assert 10_000 in [member.size for member in tar.getmembers()]


def _saved(layer: bytes, described: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("c.json", b"{}"), ("layer.tar", layer), ("manifest.json", described)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
