"""Requirements keep their meaning: options, hashes and indexes, in the resolution and in the installation."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mlmgmt_nb.contract.requirements import Option
from mlmgmt_nb.interpreters import find_interpreter
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.environments import Environment, Environments
from mlmgmt_nb.service.building.packages.lock import Lock
from mlmgmt_nb.service.building.packages.machine_indexes import PipConfigError, options_of_pip, options_of_uv
from mlmgmt_nb.service.building.packages.packages import RequestedPackages
from mlmgmt_nb.service.building.packages.requirements import RequirementSet, RequirementsReader
from mlmgmt_nb.service.files.logs import Log
from mlmgmt_nb.service.system.processes import ownership
from tests.conftest import ServiceProcess
from tests.support.package_index import build_backend, digest_of, package_index, project, source_archive, wheel

USER, PASSWORD = "someone", "canary-password"
LOGIN = f"{USER}:{PASSWORD}"


class Workshop:
    """Environments, a build context and two indexes: the default one, and a private one that requires a login."""

    def __init__(self, folder: Path, default: str, private: str) -> None:
        self.folder = folder
        self.default, self.private = default, private
        self.context = folder / "context"
        (self.context / "packages").mkdir(parents=True)
        (folder / "environments").mkdir()
        self.environments = Environments(folder / "environments")
        self.of_machine: list[Option] = []
        self._log = Log(folder / "log")

    def requested(self, *lines: str) -> RequirementSet:
        reader = RequirementsReader(self.context, lambda url, what: Path(url))
        requested = reader.read([f"--index-url {self.default}", *lines], "requirements.txt")
        requested.options[:0] = self.of_machine
        return requested

    def ensure(self, *lines: str) -> Environment:
        interpreter = find_interpreter(["3.11", "3.12", "3.13"])
        assert interpreter
        cancellation = Cancellation(ownership(self.folder))
        return self.environments.ensure(self.requested(*lines), self.context, interpreter, self._log, cancellation)

    def says(self, environment: Environment, module: str) -> str:
        command = [str(environment.interpreter), "-c", f"import {module}; print({module}.WHAT)"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def refusal(self, *lines: str) -> str:
        with pytest.raises(BuildError) as caught:
            self.ensure(*lines)
        assert "canary" not in caught.value.message
        return caught.value.message


@pytest.fixture
def workshop(tmp_path: Path, uv_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))
    for index in ("default", "private"):
        wheel(tmp_path / index / "both", "both", "1.0", index)
        wheel(tmp_path / index / f"only-{index}", f"only_{index}", "1.0", index)
    wheel(tmp_path / "default" / "both", "both", "2.0", "a squatter's")
    wheel(tmp_path / "default" / "needy", "needy", "1.0", "x", needs="both>=2")
    with package_index(tmp_path / "default") as default, package_index(tmp_path / "private", LOGIN) as private:
        yield Workshop(tmp_path, default, private)


class TestIndexes:
    def test_a_private_index_goes_first_and_alone(self, workshop: Workshop) -> None:
        """Check that the default index is not queried, even for a newer release of that name."""
        environment = workshop.ensure(f"--extra-index-url {workshop.private}", "both", "only-private", "only-default")
        assert workshop.says(environment, "both") == "private"
        assert workshop.says(environment, "only_private") == "private"
        assert workshop.says(environment, "only_default") == "default"

    def test_a_login_that_is_refused_ends_the_build(self, workshop: Workshop) -> None:
        wrong = workshop.private.replace("canary-password", "canary-wrong")
        message = workshop.refusal(f"--extra-index-url {wrong}", "both")
        assert "credentials" in message

    def test_passwords_are_nowhere(self, workshop: Workshop) -> None:
        workshop.ensure(f"--extra-index-url {workshop.private}", "both")
        workshop.refusal(f"--extra-index-url {workshop.private}", "both==99")
        written = [path for path in workshop.folder.rglob("*") if path.is_file() and path.suffix != ".whl"]
        assert any(path.name == "pylock.toml" for path in written)
        assert not [path for path in written if b"canary" in path.read_bytes()]

    def test_the_login_of_a_file(self, workshop: Workshop) -> None:
        url = f"{workshop.private}only-private/only_private-1.0-py3-none-any.whl"
        environment = workshop.ensure(f"only-private @ {url}")
        assert workshop.says(environment, "only_private") == "private"
        assert "canary" not in environment.lock.text
        assert "canary" not in "".join(environment.lock.pip_lines(by_url=True))
        assert workshop.requested(f"only-private @ {url}").logins == {"127.0.0.1": ("someone", "canary-password")}

    def test_a_token_in_the_url_of_a_repository(self, workshop: Workshop) -> None:
        assert "a user or token" in workshop.refusal("x @ git+https://canary@127.0.0.1:9/x.git")
        assert workshop.requested("x @ git+ssh://git@git.example/x.git").requirements

    def test_folders_without_an_index(self, workshop: Workshop) -> None:
        wheel(workshop.context / "packages" / "1" / "wheels", "both", "0.5", "the folder's")
        lines = ("--no-index", "--find-links ./packages/1/wheels", "both")
        assert workshop.says(workshop.ensure(*lines), "both") == "the folder's"
        assert "only-default" in workshop.refusal(*lines, "only-default")

    def test_constraints(self, workshop: Workshop) -> None:
        limits = workshop.context / "packages" / "1" / "limits.txt"
        limits.parent.mkdir()
        limits.write_text("both<2\n")
        assert workshop.says(workshop.ensure("-c ./packages/1/limits.txt", "both"), "both") == "default"

    def test_a_host_whose_certificate_nobody_signed(self, workshop: Workshop) -> None:
        certificate = trustme.CA().issue_cert("127.0.0.1")
        wheel(workshop.folder / "closed" / "behind-tls", "behind_tls", "1.0", "closed")
        with package_index(workshop.folder / "closed", certificate=certificate) as closed:
            lines = (f"--extra-index-url {closed}", "behind-tls")
            assert "certificate" in workshop.refusal(*lines).lower()
            host = closed.removeprefix("https://").rstrip("/")
            assert workshop.says(workshop.ensure(f"--trusted-host {host}", *lines), "behind_tls") == "closed"

    def test_source_archives_are_built_from_the_same_indexes(self, workshop: Workshop) -> None:
        source_archive(workshop.folder / "private" / "sourced", "sourced", "1.0", "private", "our_backend")
        build_backend(workshop.folder / "private" / "our-backend", "our_backend")
        wheel(workshop.folder / "default" / "our-backend", "our_backend", "9.0", "a squatter's")
        wheel(workshop.folder / "default" / "sourced", "sourced", "9.0", "a squatter's")
        environment = workshop.ensure(f"--extra-index-url {workshop.private}", "sourced")
        assert workshop.says(environment, "sourced") == "private, built by our_backend"


class TestIndexesOfTheMachine:
    """Variables of `uv` and the configuration of pip: a name that the index of a company has comes from there."""

    @pytest.mark.parametrize(
        "variables",
        [
            {"UV_INDEX": "{private}"},
            {"UV_INDEX": "our-own={private}"},
            {"UV_INDEX": "our-own={plain}", "UV_INDEX_OUR_OWN_USERNAME": USER, "UV_INDEX_OUR_OWN_PASSWORD": PASSWORD},
            {"UV_EXTRA_INDEX_URL": "{private}"},
            {"UV_INDEX": "{private}", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ],
        ids=lambda variables: " ".join(variables),
    )
    @pytest.mark.parametrize("more", [(), ("--extra-index-url {other}",)], ids=["alone", "and of the requirements"])
    def test_variables(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], more: tuple[str, ...]
    ) -> None:
        plain = workshop.private.replace(f"{LOGIN}@", "")
        wheel(workshop.folder / "other" / "both", "both", "3.0", "another's")
        with package_index(workshop.folder / "other") as other:
            for name, value in variables.items():
                monkeypatch.setenv(name, value.format(private=workshop.private, plain=plain))
            workshop.of_machine = options_of_uv(os.environ)
            environment = workshop.ensure(*(line.format(other=other) for line in more), "both", "only-default")
        assert workshop.says(environment, "both") == "private"
        assert workshop.says(environment, "only_default") == "default"
        assert "canary" not in environment.lock.text

    def test_folders(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder of the machine holds beside those of the requirements."""
        wheel(workshop.context / "packages" / "1" / "wheels", "sent", "1.0", "sent")
        wheel(workshop.folder / "of-machine", "kept", "1.0", "kept")
        monkeypatch.setenv("UV_FIND_LINKS", str(workshop.folder / "of-machine"))
        environment = workshop.ensure("--find-links ./packages/1/wheels", "sent", "kept")
        assert [workshop.says(environment, name) for name in ("sent", "kept")] == ["sent", "kept"]

    def test_hashes_are_checked_nonetheless(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UV_NO_VERIFY_HASHES", "1")
        TestHashes().test_a_file_that_changed_at_its_index_since_the_lock(workshop)

    @pytest.mark.parametrize(
        ("text", "lines"),
        [
            ("", []),
            ("[global]\nindex-url = https://u:p@x/s\n", ["--index-url https://u:p@x/s"]),
            ("[global]\nindex_url = https://x\n[install]\nindex-url = https://y\n", ["--index-url https://y"]),
            (
                "[install]\nextra-index-url =\n  https://a\n  https://b\n",
                [f"--extra-index-url https://{x}" for x in "ab"],
            ),
            (
                "[global]\nno-index = true\nfind-links = /wheels https://x/w\n",
                ["--no-index", "--find-links https://x/w"],
            ),
            (
                "[global]\ntrusted-host = a b:1\n[wheel]\nindex-url = https://x\n",
                [f"--trusted-host {x}" for x in ("a", "b:1")],
            ),
        ],
    )
    def test_the_configuration_of_pip(self, text: str, lines: list[str]) -> None:
        assert [f"{option.name} {option.value}".strip() for option in options_of_pip(text)] == lines

    def test_another_text(self) -> None:
        with pytest.raises(PipConfigError) as caught:
            options_of_pip("https://u:canary@x")
        assert "canary" not in str(caught.value)


class TestHashes:
    def test_the_right_one(self, workshop: Workshop) -> None:
        pinned = digest_of(workshop.folder / "default" / "both" / "both-1.0-py3-none-any.whl")
        environment = workshop.ensure(f"both==1.0 --hash={pinned}")
        assert pinned.removeprefix("sha256:") in environment.lock.text
        assert workshop.says(environment, "both") == "default"

    @pytest.mark.parametrize(
        "lines",
        [
            (f"both==1.0 --hash=sha256:{'2' * 64}",),
            ("--require-hashes", "both==1.0"),
            (f"both==1.0 --hash=sha256:{'2' * 64}", "only-default"),
        ],
    )
    def test_others(self, workshop: Workshop, lines: tuple[str, ...]) -> None:
        message = workshop.refusal(*lines)
        assert "both==1.0" in message
        assert "hash" in message

    def test_one_pinned_hash_requires_all(self, workshop: Workshop) -> None:
        pinned = digest_of(workshop.folder / "default" / "both" / "both-1.0-py3-none-any.whl")
        assert "only-default==1.0: no --hash" in workshop.refusal(f"both==1.0 --hash={pinned}", "only-default")

    def test_a_file_that_changed_at_its_index_since_the_lock(self, workshop: Workshop) -> None:
        lines = ("only-default",)
        workshop.ensure(*lines)
        for folder in (workshop.folder / "environments").iterdir():
            (folder / "complete").unlink(missing_ok=True) if folder.is_dir() else None
        wheel(workshop.folder / "default" / "only-default", "only_default", "1.0", "changed")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("UV_CACHE_DIR", str(workshop.folder / "cache"))
            assert "hash" in workshop.refusal(*lines)


class TestCache:
    def test_by_what_requirements_resolve_to(self, workshop: Workshop) -> None:
        first = workshop.ensure("both==1.0")
        assert workshop.ensure("both == 1.0  # the same").interpreter == first.interpreter
        assert workshop.ensure("both<2").interpreter == first.interpreter
        assert workshop.ensure("both").interpreter != first.interpreter

    def test_a_changed_wheel(self, workshop: Workshop) -> None:
        said = []
        for what in ("before", "after"):
            wheel(workshop.context / "packages" / "1", "sent", "1.0", what)
            environment = workshop.ensure("./packages/1/sent-1.0-py3-none-any.whl")
            said.append(workshop.says(environment, "sent"))
        assert said == ["before", "after"]

    def test_a_changed_branch(self, workshop: Workshop) -> None:
        said, folder = [], workshop.folder / "repository"
        for what in ("before", "after"):
            project(folder, "branched", what)
            author = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
            for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", what]):
                subprocess.run(["git", *command], cwd=folder, check=True)
            with pytest.MonkeyPatch.context() as environment:
                environment.delenv("UV_DEFAULT_INDEX", raising=False)
                reader = RequirementsReader(workshop.context, lambda url, what: Path(url))
                requested = reader.read([f"branched @ git+{folder.as_uri()}"], "r")
                made = workshop.environments.ensure(
                    requested,
                    workshop.context,
                    str(find_interpreter(["3.11", "3.12", "3.13"])),
                    Log(workshop.folder / "log"),
                    Cancellation(ownership(workshop.folder)),
                )
            said.append(workshop.says(made, "branched"))
        assert said == ["before", "after"]


class TestFailures:
    @pytest.mark.parametrize(
        ("lines", "sentence"),
        [
            (("both==99",), "both==99: this release does not exist"),
            (("no_such.Package",), "no_such.Package: no package index has a package with this name"),
            (("both=>1",), "line 2: 'both=>1' is not a requirement"),
            (("x @ git+file:///no/repository",), "x: its repository cannot be read ('/no/repository' does not"),
            (("needy", "both==1.0"), "both==1.0: conflicts with needy"),
            (("both==1.0", "both==2.0"), "both==1.0: conflicts with both==2.0"),
            (("--no-binary both", "both==1.0"), "both==1.0"),
        ],
    )
    def test_one_sentence(self, workshop: Workshop, lines: tuple[str, ...], sentence: str) -> None:
        message = workshop.refusal(*lines)
        assert sentence in message
        assert len(message) < 250
        assert "\n" not in message

    @pytest.mark.parametrize(
        ("line", "about"),
        [
            ("-r ../../etc/passwd", "../../etc/passwd"),
            ("-c /etc/passwd", "/etc/passwd"),
            ("x @ file:///etc/passwd", "/etc/passwd"),
            ("./packages/1/../../x.whl", "x.whl"),
            ("--find-links /tmp", "/tmp"),
            ("--global-option=x", "--global-option"),
            ("six --config-settings=x", "--config-settings"),
            ("six --hash=md5:abc", "md5:abc"),
        ],
    )
    def test_nothing_of_the_machine_of_the_service_is_read(self, workshop: Workshop, line: str, about: str) -> None:
        with pytest.raises(BuildError, match="line 3") as caught:
            workshop.requested("six", line)
        assert about in caught.value.message


def test_packages_that_cannot_work_are_left_out(
    api: Any, write_driver: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("azure-ml-api-sdk==0.1.0a11\nazureml.datacollector\nazureml-core==1.0.45\nsix\n")
    driver = write_driver("import six\ndef init():\n    pass\ndef run(body):\n    return 1\n")
    image = api.image(driver, properties={"pipRequirements": path.as_uri()})
    log = api.log(image["imageBuildLogUri"])
    for line in path.read_text().splitlines()[:3]:
        assert f"skipping {line}" in log
    assert api.score(api.service(image["id"], name), "1").json() == 1


def test_the_index_of_a_company(
    start_service: Callable[..., ServiceProcess], write_driver: Callable[..., Path], tmp_path: Path, uv_cache: Path
) -> None:
    """The service's own variables hold for a build, before what its requirements name."""
    wheel(tmp_path / "ours" / "both", "both", "1.0", "ours")
    wheel(tmp_path / "theirs" / "both", "both", "2.0", "theirs")
    path = tmp_path / "requirements.txt"
    driver = write_driver("import both\ndef init():\n    pass\ndef run(body):\n    return both.WHAT\n")
    with package_index(tmp_path / "ours", LOGIN) as ours, package_index(tmp_path / "theirs") as theirs:
        api = start_service(environment={"UV_INDEX": ours, "UV_CACHE_DIR": str(uv_cache)})
        path.write_text(f"--extra-index-url {theirs}\nboth\n")
        image = api.image(driver, properties={"pipRequirements": path.as_uri()})
    assert api.score(api.service(image["id"]), "1").json() == "ours"
    written = [file for file in (api.home / "images" / image["id"]).rglob("*") if file.is_file()]
    assert not [file for file in written if b"canary" in file.read_bytes()]


def test_pinned_hashes_beside_the_runtime(
    api: Any, write_driver: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """The packages that the service adds, and those that they need, are exempt: nobody could pin them."""
    sent = wheel(tmp_path / "sent", "sent", "1.0", "pinned")
    path = tmp_path / "requirements.txt"
    path.write_text(f"--require-hashes\n./packages/1/{sent.name} --hash={digest_of(sent)}\n")
    folder = write_driver("import sent\ndef init():\n    pass\ndef run(body):\n    return sent.WHAT\n")
    image = api.image(folder, packages=[sent], properties={"pipRequirements": path.as_uri()})
    assert api.score(api.service(image["id"], name), "1").json() == "pinned"


def test_packages_of_conda_from_pip(api: Any, write_driver: Callable[..., Path], tmp_path: Path, name: str) -> None:
    path = tmp_path / "environment.yml"
    path.write_text("dependencies: [six=1.16, openssl=1.1, pip, {pip: ['toolz==0.12.1']}]\n")
    source = (
        "import six, toolz\ndef init():\n    pass\ndef run(body):\n    return [six.__version__, toolz.__version__]\n"
    )
    image = api.image(write_driver(source), properties={"condaEnvFile": path.as_uri()})
    assert "skipping openssl=1.1" in api.log(image["imageBuildLogUri"])
    assert api.score(api.service(image["id"], name), "1").json() == ["1.16.0", "0.12.1"]


class TestLinesForPip:
    LOCK = Lock(
        '[[packages]]\nname = "a"\nversion = "1"\n'
        'sdist = { url = "https://i/a-1.tar.gz", hashes = { sha256 = "bb" } }\n'
        'wheels = [{ url = "https://i/a-1-py3-none-any.whl", hashes = { sha256 = "aa" } }]\n'
        '[[packages]]\nname = "b"\nversion = "2"\n'
        'archive = { path = "packages/1/b-2-py3-none-any.whl", hashes = { sha256 = "cc" } }\n'
        '[[packages]]\nname = "c"\nversion = "3"\nvcs = { type = "git", url = "https://g/c", commit-id = "dd" }\n'
    )

    @pytest.mark.parametrize(
        ("by_url", "first"),
        [
            (False, "a==1 --hash=sha256:aa --hash=sha256:bb"),
            (True, "a @ https://i/a-1-py3-none-any.whl --hash=sha256:aa"),
        ],
    )
    def test_each_source(self, by_url: bool, first: str) -> None:
        rest = ["./packages/1/b-2-py3-none-any.whl --hash=sha256:cc", "c @ git+https://g/c@dd"]
        assert self.LOCK.pip_lines(by_url=by_url) == [first, *rest]


class TestBuildRequirements:
    """Where pip, in an image, takes from what the build of a source archive needs."""

    WHEEL = '[[packages]]\nname = "a"\nversion = "1"\nwheels = [{ url = "https://i/a-1-py3-none-any.whl" }]\n'
    SOURCE = '[[packages]]\nname = "b"\nversion = "2"\nsdist = { url = "https://i/b-2.tar.gz" }\n'
    EXTRA = "--extra-index-url https://private.example/simple"

    def packages(self, folder: Path, *lines: str) -> RequestedPackages:
        (folder / "packages" / "1" / "wheels").mkdir(parents=True)
        reader = RequirementsReader(folder, lambda url, what: Path(url))
        requested = reader.read([*lines, "a", "b"], "requirements.txt")
        return RequestedPackages(requested=requested, conda=None, content={}, reader=reader)

    @pytest.mark.parametrize(
        ("lines", "options"),
        [
            ((), []),
            (("-i https://u:canary@one.example/s",), ["--index-url https://one.example/s"]),
            (("--no-index", "-f ./packages/1/wheels"), ["--no-index", "--find-links ./packages/1/wheels"]),
            (("--pre", "--only-binary :all:"), ["--pre", "--only-binary :all:"]),
            # pip has no order of indexes.
            (("-i https://one.example/s", EXTRA), ["--no-index"]),
        ],
    )
    def test_options(self, tmp_path: Path, lines: tuple[str, ...], options: list[str]) -> None:
        text = self.packages(tmp_path, *lines).pip_file(Lock(self.WHEEL + self.SOURCE))
        assert [line for line in text.splitlines() if line.startswith("-")] == options

    def test_several_indexes(self, tmp_path: Path) -> None:
        packages = self.packages(tmp_path, self.EXTRA)
        packages.check_sources(Lock(self.WHEEL))
        with pytest.raises(BuildError, match=r"b==2: no wheel exists, and with --extra-index-url"):
            packages.check_sources(Lock(self.WHEEL + self.SOURCE))

    @pytest.mark.parametrize(("other", "is_refused"), [("u:canary", False), ("v:canary", True), ("u:canary2", True)])
    def test_logins_of_one_host(self, tmp_path: Path, other: str, is_refused: bool) -> None:
        lines = ("-i https://u:canary@one.example/a", f"--extra-index-url https://{other}@one.example/b")
        packages = self.packages(tmp_path, *lines, "--extra-index-url https://x:y@two.example/c")
        if not is_refused:
            packages.check_logins()
            return
        with pytest.raises(BuildError, match=r"one\.example: .* different logins") as caught:
            packages.check_logins()
        assert "canary" not in caught.value.message
        assert "two.example" not in caught.value.message
