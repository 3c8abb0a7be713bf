"""Requirements and conda files with all that they name: what is sent, and what is refused before anything is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client.applications.application import Application
from mlmgmt_nb.client.applications.requirements import Bundle
from mlmgmt_nb.contract.conda import CondaFile, admitted_pythons, pip_equivalents
from mlmgmt_nb.contract.requirements import Option, Requirement, RequirementsError, parse
from mlmgmt_nb.errors import UsageError
from tests.support.package_index import project, wheel


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(body):\n    return 1\n")
    wheel(tmp_path / "dist", "sent", "1.0", "x")
    project(tmp_path / "lib", "ours", "x")
    (tmp_path / "lib" / ".git").mkdir()
    (tmp_path / "lib" / ".git" / "HEAD").write_text("x")
    (tmp_path / "base.txt").write_text("toolz  # a comment\n-c sub/limits.txt\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "limits.txt").write_text("toolz<1\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


class TestParsing:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("-i https://x/simple", [Option(1, "--index-url", "https://x/simple")]),
            ("--extra-index-url=https://x", [Option(1, "--extra-index-url", "https://x")]),
            ("-rbase.txt", [Option(1, "--requirement", "base.txt")]),
            ("--no-index --pre", [Option(1, "--no-index"), Option(1, "--pre")]),
            (
                "a==1 \\\n  --hash=sha256:AA --hash sha512:bb",
                [Requirement(1, "a==1", hashes=("sha256:aa", "sha512:bb"))],
            ),
            (
                "a[x] @ dist/a.whl ; python_version<'4'",
                [Requirement(1, "a[x] @ ", "dist/a.whl", " ; python_version<'4'")],
            ),
            ("./lib[x]", [Requirement(1, "", "./lib", "[x]")]),
            ("-e git+https://g/a@main#egg=b", [Requirement(1, "", "git+https://g/a@main#egg=b")]),
            ("\ufeff# nothing\n\n", []),
        ],
    )
    def test_lines(self, line: str, expected: list[Any]) -> None:
        assert list(parse(line)) == expected

    @pytest.mark.parametrize(
        "line",
        [
            *("--target x", "a --config-settings=x", "--index-url", "'a", "=a", "a --hash=x"),
            *("http://[::1/x.whl", "a @ http://[x", "-i http://u:p@[x/", "-f http://[x", "-e http://[x", "a\ud800"),
        ],
    )
    def test_lines_that_are_not_understood(self, line: str) -> None:
        with pytest.raises(RequirementsError, match=r"^line 2: "):
            list(parse(f"# first\n{line}"))

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("six=1.17", "'six=1.17' is not a requirement; write six==1.17"),
            ("six=>1.17", "'six=>1.17' is not a requirement"),
            ("six==1.17 numpy", "'six==1.17 numpy' is not a requirement"),
            ("six 1.17", "'six 1.17' is not a requirement"),
            ("conda install six", "'conda install six' is not a requirement"),
        ],
    )
    def test_a_requirement_is_checked_before_anything_is_sent(self, line: str, problem: str) -> None:
        with pytest.raises(RequirementsError) as caught:
            list(parse(line))
        assert str(caught.value) == f"line 1: {problem}"

    @pytest.mark.parametrize(
        "line", ["six==${SIX_VERSION}", "six (>=1)", "six[a,b]>=1,!=2; python_version>'3'", "six~=1.0"]
    )
    def test_requirements_of_every_form(self, line: str) -> None:
        assert list(parse(line)) == [Requirement(1, line)]

    def test_an_option_that_uv_lacks(self) -> None:
        with pytest.raises(RequirementsError, match=r"--prefer-binary is not supported .*use --only-binary"):
            list(parse("--prefer-binary\nsix"))


class TestSent:
    @pytest.mark.parametrize(
        ("text", "lines", "files"),
        [
            ("six\n", ["six"], []),
            (
                "./dist/sent-1.0-py3-none-any.whl",
                ["./packages/1/sent-1.0-py3-none-any.whl"],
                ["dist/sent-1.0-py3-none-any.whl"],
            ),
            ("ours @ lib", ["ours @ ./packages/1/lib.tar.gz"], ["lib"]),
            ("-e ./lib[x]", ["./packages/1/lib.tar.gz[x]"], ["lib"]),
            ("-r base.txt", ["toolz", "--constraint ./packages/1/limits.txt"], ["sub/limits.txt"]),
            ("-f dist\nsent", ["--find-links ./packages/1/dist", "sent"], ["dist"]),
            ("./lib\n./lib", ["./packages/1/lib.tar.gz"] * 2, ["lib"]),
            ("-c https://x/limits.txt", ["--constraint https://x/limits.txt"], []),
        ],
    )
    def test_no_path_of_this_machine_is_left(self, folder: Path, text: str, lines: list[str], files: list[str]) -> None:
        bundle = Bundle()
        assert bundle.add(text, folder, "r.txt") == lines
        assert [file.path.relative_to(folder).as_posix() for file in bundle.files] == files
        assert not bundle.problems

    def test_file_urls(self, folder: Path) -> None:
        bundle = Bundle()
        assert bundle.add(f"ours @ {(folder / 'lib').as_uri()}", Path("/"), "r.txt") == [
            "ours @ ./packages/1/lib.tar.gz"
        ]

    def test_all_problems_at_once(self, folder: Path) -> None:
        (folder / "circle.txt").write_text("-r circle.txt\n")
        lines = ["-r none.txt", "./no.whl", "./empty", "-f none", "-r circle.txt"]
        with pytest.raises(UsageError) as caught:
            Application(driver="score.py", requirements=lines).check()
        for name in (
            "none.txt",
            "no.whl",
            "empty has neither pyproject.toml",
            "none is not a folder",
            "includes itself",
        ):
            assert name in str(caught.value)

    @pytest.mark.parametrize(
        "line", ["file:///%00", "~nobody-here/x", "-r ~nobody-here/x", "-f ./" + "x" * 300, "-r .", "-c sub/.."]
    )
    def test_paths_that_no_file_has(self, folder: Path, line: str) -> None:
        bundle = Bundle()
        assert bundle.add(line, folder, "requirements") in ([], ["--constraint ./packages/1/.."])
        assert "cannot be read" in bundle.problems[0]

    def test_passwords_are_in_no_repr_and_no_error(self, folder: Path) -> None:
        application = Application(
            driver="score.py", requirements=["--index-url https://u:canary@x/simple", "--target https://u:canary@x"]
        )
        assert "canary" not in repr(application)
        assert "score.py" in repr(application)
        with pytest.raises(UsageError) as caught:
            application.check()
        assert "canary" not in str(caught.value)


class TestConda:
    @pytest.mark.parametrize(
        ("entry", "requirement"),
        [
            ("scipy=1.0", "scipy==1.0.*"),
            ("scipy==1.0", "scipy==1.0"),
            ("scipy=1.0.1=py36_0", "scipy==1.0.1"),
            ("scipy >=1.0,<2", "scipy>=1.0,<2"),
            ("scipy 1.4.*", "scipy==1.4.*"),
            ("conda-forge::py-xgboost", "xgboost"),
            ("pytorch", "torch"),
            ("ruamel_yaml", "ruamel.yaml"),
        ],
    )
    def test_names_and_versions(self, entry: str, requirement: str) -> None:
        assert pip_equivalents(CondaFile([entry], [], [])) == ([requirement], [], [])

    @pytest.mark.parametrize("entry", ["cudatoolkit=10", "libgcc-ng", "r-base", "a=1|2", "a[version='1']", "own::a"])
    def test_what_pip_does_not_have(self, entry: str) -> None:
        found, _, problems = pip_equivalents(CondaFile([entry], [], []))
        assert (found, len(problems)) == ([], 1)

    def test_a_channel_of_their_own(self) -> None:
        """A name of a private channel is never looked up in a public index."""
        file = CondaFile(["ours"], [], ["conda-forge", "https://u:canary@conda.example/own"])
        _, _, problems = pip_equivalents(file)
        assert "conda.example" in problems[0]
        assert "canary" not in problems[0]

    @pytest.mark.parametrize(
        ("entry", "first"),
        [
            ("python", "3.11"),
            ("python=3.6.2", None),
            ("python=2.7", None),
            ("python=3.12", "3.12"),
            ("python=3.13.1", "3.13"),
            ("python>=3.6,<3.12", "3.11"),
            ("python>3.11,<3.13", "3.11"),
        ],
    )
    def test_pythons(self, entry: str, first: str | None) -> None:
        assert next(iter(admitted_pythons([entry])), None) == first

    def test_refused_with_all_problems(self, folder: Path) -> None:
        (folder / "env.yml").write_text("dependencies: [python=3.6.2, scikit-learn, cudatoolkit, py-xgboost]\n")
        with pytest.raises(UsageError) as caught:
            Application(driver="score.py", conda="env.yml").check("local", is_here=True)
        for word in ("python=3.6.2", "cudatoolkit", "py-xgboost", "--any-python", "docker"):
            assert word in f"{caught.value} {caught.value.fix}"
        Application(driver="score.py", conda="env.yml").check("docker")

    def test_any_python(self, folder: Path) -> None:
        (folder / "env.yml").write_text("dependencies: [python=3.6.2, scikit-learn]\n")
        Application(driver="score.py", conda="env.yml", any_python=True).check("local", is_here=True)
