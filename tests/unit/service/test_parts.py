"""Independent parts of the service: pages, logs, specs, archives, the state folder."""

from __future__ import annotations

import contextlib
import io
import itertools
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from mlmgmt_nb.archives.extraction import Limits
from mlmgmt_nb.contract import (
    AutoScaler,
    ComputeResource,
    ContainerResourceReservation,
)
from mlmgmt_nb.contract.extensions import ServiceCreate, ServiceUpdate
from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.api.paging import page
from mlmgmt_nb.service.api.resources.lookup import image_not_ready
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.fetch import file_name, shown, unpack
from mlmgmt_nb.service.building.packages.conda import local_packages, read_conda, read_content
from mlmgmt_nb.service.building.packages.packages import RequestedPackages
from mlmgmt_nb.service.building.packages.requirements import RequirementsReader
from mlmgmt_nb.service.files import logs
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.reconciling.specs import changed, cpus, memory_bytes
from mlmgmt_nb.service.settings import Settings
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.store import Store


class TestPages:
    @given(
        rows=st.integers(0, 30),
        count=st.integers(1, 12),
        added=st.lists(st.integers(0, 3), max_size=10),
    )
    def test_every_row_that_was_there_comes_once(
        self, tmp_path_factory: pytest.TempPathFactory, rows: int, count: int, added: list[int]
    ) -> None:
        store = Store(tmp_path_factory.mktemp("pages") / "db")
        table = schema.models
        numbers = iter(range(10**6))

        def add(how_many: int) -> None:
            with store.writing() as db:
                for number in [next(numbers) for _ in range(how_many)]:
                    db.execute(insert(table).values(id=str(number), account="a", name="m", version=number, doc=b"{}"))

        add(rows)
        parameters, seen, growth = {"count": str(count)}, [], iter(added)
        while True:
            with store.reading() as db:
                found, link = page(db, select(table), table, parameters, "http://x/api/models")
            seen += [row.version for row in found]
            assert len(found) <= count
            if not isinstance(link, str):
                break
            parameters["$skipToken"] = link.partition("%24skipToken=")[2].replace("%3D", "=")
            add(next(growth, 0))
        assert seen == list(range(rows))[::-1]
        store.close()

    @pytest.mark.parametrize("token", ["x", "AAAA", "é", "A" * 24, "=" * 8])
    def test_tokens_that_were_never_issued(self, tmp_path: Path, token: str) -> None:
        store = Store(tmp_path / "db")
        with store.reading() as db, pytest.raises(Problem, match="nextLink"):
            page(db, select(schema.models), schema.models, {"$skipToken": token}, "http://x/api/models")
        store.close()


class TestLogs:
    def test_a_reader_follows_across_segments(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "SEGMENT_BYTES", 100)
        log = logs.Log(tmp_path / "log")
        written, read, offset = b"", b"", 0
        for number in range(200):
            line = f"line {number}\n".encode()
            log.append(line)
            written += line
            start, data = log.read(offset)
            assert start == offset
            read, offset = read + data, start + len(data)
        assert read == written
        assert log.end() == len(written)
        start, kept = log.read()
        assert written[start:] == kept
        assert 300 <= len(kept) <= 500

    def test_an_empty_log(self, tmp_path: Path) -> None:
        log = logs.Log(tmp_path / "none")
        assert (log.read(), log.read(10), log.end()) == ((0, b""), (10, b""), 0)


def after_update(spec: ServiceCreate, update: ServiceUpdate) -> ServiceCreate:
    after, secrets = changed(spec, {}, update)
    assert secrets == {}
    return after


class TestSpecs:
    spec = ServiceCreate(
        name="iris",
        image_id="old",
        compute_resource=ComputeResource(id="local"),
        num_replicas=2,
        container_resource_reservation=ContainerResourceReservation(cpu="250m"),
    )

    def test_properties_not_set_are_kept(self) -> None:
        reservation = ContainerResourceReservation(memory="1.5Gi")
        after = after_update(self.spec, ServiceUpdate(image_id="new", container_resource_reservation=reservation))
        assert (after.image_id, after.num_replicas, after.name) == ("new", 2, "iris")
        assert (cpus(after), memory_bytes(after)) == (0.25, 1.5 * 2**30)
        assert after_update(self.spec, ServiceUpdate()) == self.spec

    def test_an_autoscaler_takes_over_from_a_fixed_number_and_back(self) -> None:
        auto = after_update(self.spec, ServiceUpdate(auto_scaler=AutoScaler(autoscale_enabled=True, max_replicas=4)))
        assert auto.num_replicas is None
        with pytest.raises(Problem, match=r"\$\.numReplicas"):
            after_update(auto, ServiceUpdate(num_replicas=3))
        fixed = after_update(auto, ServiceUpdate(num_replicas=3, auto_scaler=AutoScaler(autoscale_enabled=False)))
        assert (fixed.num_replicas, fixed.auto_scaler) == (3, AutoScaler(autoscale_enabled=False, max_replicas=4))

    @pytest.mark.parametrize(
        ("memory", "expected"), [("0", 0), ("1k", 1000), ("1Ki", 1024), ("300Mi", 300 * 2**20), ("0.5G", 5 * 10**8)]
    )
    def test_memory(self, memory: str, expected: int) -> None:
        reservation = ContainerResourceReservation(memory=memory)
        assert (
            memory_bytes(after_update(self.spec, ServiceUpdate(container_resource_reservation=reservation))) == expected
        )


class TestArchives:
    def test_both_kinds(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            member = tarfile.TarInfo("folder/one.txt")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"one"))
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as zipped:
            zipped.writestr("folder/two.txt", "two")
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", "asset 'a'", Limits(), Cancellation({}))
        unpack(tmp_path / "b.zip", tmp_path / "out", "asset 'b'", Limits(), Cancellation({}))
        assert sorted(p.read_text() for p in (tmp_path / "out" / "folder").iterdir()) == ["one", "two"]

    @pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../outside.txt"])
    def test_members_that_would_land_outside(self, tmp_path: Path, name: str) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        with contextlib.suppress(BuildError):
            unpack(tmp_path / "a.tar", tmp_path / "out", "asset 'a'", Limits(), Cancellation({}))
        assert not (tmp_path / "outside.txt").exists()
        assert not Path("/outside.txt").exists()

    def test_a_file_that_is_not_an_archive(self, tmp_path: Path) -> None:
        (tmp_path / "a.zip").write_text("text")
        with pytest.raises(BuildError, match=r"asset 'a'.*\.tar\.gz"):
            unpack(tmp_path / "a.zip", tmp_path / "out", "asset 'a'", Limits(), Cancellation({}))


class TestUrls:
    def test_names(self) -> None:
        assert file_name("https://x/a/my%20model.pkl?sig=1", "m") == "my model.pkl"
        assert file_name("https://x/", "m") == "m"
        with pytest.raises(BuildError):
            file_name("https://x/%2e%2e", "..")

    def test_no_signature_is_shown(self) -> None:
        assert shown("https://user:secret@host:1/a?sig=secret#secret") == "https://host:1/a"


class TestConda:
    def write(self, folder: Path, text: str) -> Path:
        path = folder / "conda.yml"
        path.write_text(text)
        return path

    def local(self, folder: Path, text: str) -> list[str]:
        return local_packages(read_conda(read_content(self.write(folder, text)))).lines

    def test_pip_entries(self, tmp_path: Path) -> None:
        text = "dependencies:\n- python>=3\n- pip\n- pip:\n  - six==1.16.0\n  - toml\n"
        assert self.local(tmp_path, text) == ["six==1.16.0", "toml"]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("dependencies:\n- cudatoolkit=10.1\n", "cudatoolkit=10.1"),
            ("dependencies:\n- python=2.7\n", "python=2.7"),
            ("[", "not a conda environment file"),
            ("- a\n", "not a conda environment file"),
        ],
    )
    def test_what_cannot_be_had(self, tmp_path: Path, text: str, reason: str) -> None:
        with pytest.raises(BuildError, match=reason):
            self.local(tmp_path, text)


class TestRequirements:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("-c ./packages/1/limits", "limits, line 1: ./packages/1/limits includes itself"),
            ("-c ./packages/1/folder", "line 1: './packages/1/folder' is a path, and the file was not sent"),
            ("-r ./packages/1/binary", "is not a requirement"),
            ("-r https://index/first", "more than 20 files include each other"),
            ("a @ https://[x", "is not a URL"),
        ],
    )
    def test_files_that_cannot_be_used(self, tmp_path: Path, line: str, message: str) -> None:
        """The files come from other users and from servers."""
        sent = tmp_path / "packages" / "1"
        (sent / "folder").mkdir(parents=True)
        (sent / "limits").write_text("-c ./packages/1/limits\n")
        (sent / "binary").write_bytes(b"\xff\xfe")
        numbers = itertools.count()

        def fetch(url: str, what: str) -> Path:
            (tmp_path / "fetched").write_text(f"-r {next(numbers)}.txt\n")
            return tmp_path / "fetched"

        with pytest.raises(BuildError, match=message):
            RequirementsReader(tmp_path, fetch).read([line], "requirements")


class TestSpark:
    @pytest.mark.parametrize(
        ("lines", "installed", "expected"),
        [
            ([], True, []),
            ([], False, ["pyspark"]),
            (["pandas"], True, ["pandas", "pyspark"]),
            (["pandas", "PySpark==3.5"], False, ["pandas", "PySpark==3.5"]),
            (["pyspark-extension"], True, ["pyspark-extension", "pyspark"]),
        ],
    )
    def test_pyspark_belongs_to_the_runtime(
        self, tmp_path: Path, lines: list[str], installed: bool, expected: list[str]
    ) -> None:
        reader = RequirementsReader(tmp_path, lambda url, what: tmp_path)
        packages = RequestedPackages(requested=reader.read(lines, "r"), conda=None, content={}, reader=reader)
        packages.add_spark(is_installed=lambda: installed)
        assert packages.requested.lines == expected


class TestSettings:
    def test_a_service_that_others_reach_does_not_read_local_files(self, tmp_path: Path) -> None:
        assert "file" in Settings(home=tmp_path).readable_schemes
        assert "file" not in Settings(home=tmp_path, host="0.0.0.0").readable_schemes
        assert Settings(home=tmp_path, url_schemes=frozenset({"https"})).readable_schemes == {"https"}

    def test_names_that_it_answers_to(self, tmp_path: Path) -> None:
        alone, shared = (
            Settings(home=tmp_path),
            Settings(home=tmp_path, host="0.0.0.0", public_url="https://ml.example"),
        )
        assert all(alone.answers_to(host) for host in ("localhost", "127.0.0.1", "::1"))
        assert not any(alone.answers_to(host) for host in ("ml.example", "10.0.0.1", ""))
        assert all(shared.answers_to(host) for host in ("ml.example", "10.0.0.1", "localhost"))
        assert not shared.answers_to("evil.example")


class TestHome:
    def test_one_service_at_a_time(self, tmp_path: Path) -> None:
        first, second = Home(tmp_path / "home"), Home(tmp_path / "home")
        first.open()
        with pytest.raises(LocalServiceError, match="already running"):
            second.open()
        first.close()
        second.open()
        second.close()

    def test_the_token_stays(self, tmp_path: Path) -> None:
        home = Home(tmp_path / "home")
        home.open()
        token = home.token()
        assert len(token) >= 32
        assert Home(tmp_path / "home").token() == token
        assert home.token_file.stat().st_mode & 0o777 == 0o600
        home.close()

    @pytest.mark.parametrize(
        "content", [b"", b"\n", b" \t ", b"abc", b"x" * 42, b"\xff" * 43, b"a b " * 20, b"\0" * 43]
    )
    def test_a_token_that_anybody_could_guess_is_replaced(self, tmp_path: Path, content: bytes) -> None:
        home = Home(tmp_path / "home")
        home.open()
        home.token_file.write_bytes(content)
        home.token_file.chmod(0o644)
        token = home.token()
        assert len(token) >= 43
        assert home.token_file.read_text() == token == Home(tmp_path / "home").token()
        assert home.token_file.stat().st_mode & 0o777 == 0o600
        home.close()

    def test_a_token_that_others_could_read_is_made_private(self, tmp_path: Path) -> None:
        home = Home(tmp_path / "home")
        home.open()
        token = home.token()
        home.token_file.write_text(token + "\n")
        home.token_file.chmod(0o664)
        assert home.token() == token
        assert home.token_file.stat().st_mode & 0o777 == 0o600
        home.close()

    def test_a_folder_of_a_later_version_is_left_alone(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "db")
        with store.writing() as db:
            db.execute(update(schema.schema_version).values(version=99))
        store.close()
        with pytest.raises(LocalServiceError, match="schema 99"):
            Store(tmp_path / "db")


@pytest.mark.parametrize(
    ("state", "fix"),
    [
        ("NotStarted", "wait until it ends."),
        ("Running", "wait until it ends."),
        ("Failed", "read its build log and create a new image."),
    ],
)
def test_an_error_about_an_image_that_is_not_built_has_a_fix(state: str, fix: str) -> None:
    assert str(image_not_ready(state)) == f"The build of this image is in state {state}, not Succeeded; {fix}"
    assert str(image_not_ready(state, "$.imageId")).startswith("$.imageId: the build of this image")
