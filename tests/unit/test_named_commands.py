"""Commands that README and pages name are there, with the flags that they are shown with."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

import pytest
from platformdirs.unix import Unix

from mlmgmt_nb import cli
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.session import COMMON, OPTIONAL_WORDS, WAITING
from mlmgmt_nb.service.settings import Settings

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".docs"
SPEED = SITE / "explanation" / "speed.md"
QUESTIONS, CONTRIBUTING = (SITE / name for name in ("questions.md", "contributing.md"))
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in SITE.rglob("*.md") if not {"_build", "notebooks"} & {*page.relative_to(SITE).parts}),
]

(_OWN,) = [action for action in cli.service_parser()._actions if isinstance(action, argparse._SubParsersAction)]


def _exported() -> Iterable[tuple[str, argparse.ArgumentParser]]:
    (parts,) = [each for each in _OWN.choices["export"]._actions if isinstance(each, argparse._SubParsersAction)]
    return parts.choices.items()


FLAGS: dict[tuple[str, ...], set[str]] = {
    (): {"-h", "--help", "--version"},
    **{command.words: {n for f in command.flags for n in f.names.split()} for command in COMMANDS},
    **{(name,): set(parser._option_string_actions) for name, parser in _OWN.choices.items()},
    **{("export", name): set(parser._option_string_actions) for name, parser in _exported()},
    ("last-error",): set(),  # of the magics
}
OF_EVERY = {name for flag in (*COMMON, *WAITING) for name in flag.names.split()}


def fault(text: str) -> str:
    """Why a line is no command that is there; empty when it is one, or names a part of one."""
    words = [word for word in text.strip().lstrip("%").split() if word not in OPTIONAL_WORDS][1:]
    names = tuple(takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]*", word), words))
    command = max((known for known in FLAGS if known == tuple(words[: len(known)])), key=len)
    if names and not command:
        is_group = len(names) == len(words) and any(known[: len(names)] == names for known in FLAGS)
        return "" if is_group else f"{text}: there is no such command"
    flags = {flag.strip("[]") for flag in words if re.match(r"\[?-", flag)} - {"-"}
    unknown = flags - FLAGS[command] - OF_EVERY
    return f"{text}: there is no {', '.join(sorted(unknown))}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_commands_are_there(page: Path) -> None:
    text = page.read_text()
    blocks = re.findall(r"```\w+\n(.*?)```", text, re.DOTALL)
    named = re.findall(r"`(%?%?mlmgmt(?: [^`]+)?)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for block in blocks:
        named += re.findall(r"^(?:\w+ = )?(%?%?mlmgmt .*)$", block.replace("\\\n", " "), re.MULTILINE)
    lines = [" ".join(text.split()).removesuffix("?") for text in named]
    assert not [fault(line) for line in lines if "alone" not in line and fault(line)]


def test_commands_that_are_not_there_are_found() -> None:
    assert fault("mlmgmt service list") == fault("%mlmgmt service create realtime -n NAME") == fault("mlmgmt env") == ""
    assert "no such command" in fault("mlmgmt service bake")
    assert "no such command" in fault("mlmgmt cake")
    assert fault("mlmgmt service list --cake") == "mlmgmt service list --cake: there is no --cake"
    assert fault("mlmgmt serve [--host] [--cake]").endswith("no --cake")


def test_the_line_of_a_shared_server_is_one() -> None:
    (block,) = re.findall(
        r"```bash\n(mlmgmt serve .*?)```", (ROOT / ".docs" / "guides" / "server.md").read_text(), re.DOTALL
    )
    arguments = cli.service_parser().parse_args(shlex.split(block.replace("\\\n", ""))[1:])
    assert arguments.grant == ["contributor=GROUP@team", "reader=Reader"]


def test_the_checks_of_contributors_are_those_of_ci() -> None:
    (block,) = re.findall(r"```bash\n(\.ci/check.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    ci = (ROOT / ".ci" / "run").read_text()
    assert block
    assert "step .ci/check\n" in ci
    assert "step sphinx-build -W -q " in ci


def test_pages_name_commands() -> None:
    assert sum("mlmgmt service" in page.read_text() for page in PAGES) > 5


def test_what_it_says_of_ports_and_folders_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = Settings(home=Path()).service_ports
    assert f"from {first} to {last}" in " ".join(QUESTIONS.read_text().split())
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    folder = Unix("mlmgmt-nb", appauthor=False).user_data_dir
    assert f"`{folder.replace(str(Path.home()), '~')}` on Linux" in QUESTIONS.read_text()


def test_benchmarks_are_there() -> None:
    benchmarks = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py") if "def main(" in path.read_text()}
    named = re.findall(r"^\| `(\w+)` \|", SPEED.read_text(), re.MULTILINE)
    assert len(set(named)) > 5
    assert set(named) <= benchmarks
