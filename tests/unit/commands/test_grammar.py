"""The table of commands, and how tokens become arguments."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from mlmgmt_nb.commands import COMMANDS, Command, Flag, Help, Session
from mlmgmt_nb.commands.config import Config
from mlmgmt_nb.commands.flags import CommonArguments
from mlmgmt_nb.commands.grammar import parse_flags
from mlmgmt_nb.contract import OPERATIONS
from mlmgmt_nb.errors import UsageError

TESTS = Path(__file__).parents[2]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(COMMANDS, config=Config(tmp_path / "config.toml", {}))


def parse(tokens: list[Any], *flags: Flag) -> Any:
    return parse_flags(Command(("c",), "Does it", "c", lambda s, a: a, flags), tokens, (), "mlmgmt c")


def test_every_operation_of_the_contract_has_a_command() -> None:
    covered = {operation for command in COMMANDS for operation in command.operations}
    assert covered == set(OPERATIONS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_an_example_and_a_test(command: Command[Any], session: Session) -> None:
    shown = session.execute([*command.words, "-h"]).value
    assert isinstance(shown, Help)
    assert command.help in shown
    assert command.example in shown
    assert command.example.lstrip("%").removeprefix("mlmgmt ").startswith(command.name)
    for flag in command.flags:
        assert flag.help
    called = re.compile(r"""["'\s]""" + r"""["',\s]+""".join(command.words) + r"""\b""")
    here = Path(__file__).name
    tests = [path.read_text() for path in TESTS.rglob("test_*.py") if path.name != here]
    assert any(called.search(text) for text in tests), f"no test calls `{command.name}`"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_are_understood(command: Command[Any], session: Session) -> None:
    import shlex

    words = shlex.split(command.example.lstrip("%").removeprefix("mlmgmt "))
    found, rest = session.find(words)
    assert found is command
    parsed = parse_flags(command, rest, session.common(command), "mlmgmt")
    assert not isinstance(parsed, Help)


TYPES = {"text": {str}, "many": {Sequence}, "integer": {int}, "number": {float}, "switch": {bool}, "yes-no": {bool}}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_arguments_have_a_field_of_the_right_type_for_each_flag(command: Command[Any], session: Session) -> None:
    arguments: Any = command.arguments
    flags = {flag.dest: flag for flag in (*command.flags, *session.common(command))}
    own = {field.name for field in dataclasses.fields(arguments)}
    assert own == set(flags)
    assert own - {field.name for field in dataclasses.fields(CommonArguments)} >= {flag.dest for flag in command.flags}
    for name, hint in get_type_hints(arguments).items():
        parts = [get_origin(part) or part for part in (get_args(hint) if type(hint) is UnionType else (hint,))]
        kinds = {type(get_args(hint)[0]) if part is Literal else part for part in parts}
        flag = flags[name]
        assert flag.kind == "value" or kinds - {NoneType} == TYPES[flag.kind], f"{name}: {hint}"
        may_be_unset = not flag.required and flag.default is None and flag.kind not in {"switch", "many"}
        assert Any in kinds or (NoneType in kinds) == may_be_unset, f"{name}: {hint}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_flags_have_names_of_their_own(command: Command[Any], session: Session) -> None:
    names = [name for flag in (*command.flags, *session.common(command)) for name in flag.names.split()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("model register", "--model --name --tag --description"),
        ("model show", "-m --tag"),
        ("model list", "--tag"),
        ("manifest create", "--manifest-name -f -r -i -m -s -c -p -d --manifest-description"),
        ("manifest show", "-i"),
        ("image create", "-n --manifest-id -m -f -r -s -c -p -d --image-description --image-type"),
        ("image show", "-i"),
        ("image usage", "-i"),
        (
            "service create realtime",
            "-n --image-id -m -f -r -s -c -p -d -z --autoscale-enabled --autoscale-min-replicas"
            " --autoscale-max-replicas --autoscale-target-utilization --autoscale-refresh-period-seconds --cpu --memory"
            " --replica-max-concurrent-requests --collect-model-data -l --enable-app-insights",
        ),
        ("service update realtime", "-i --image-id -z --cpu"),
        ("service show realtime", "-i"),
        ("service delete realtime", "-i"),
        ("service keys realtime", "-i --regen --key"),
        ("service run realtime", "-i -d"),
        ("service usage realtime", "-i"),
        ("service logs realtime", "-i --follow --tail --request-id"),
        ("service list realtime", ""),
        ("account modelmanagement create", "-n"),
        ("account modelmanagement list", ""),
        ("account modelmanagement set", "-n"),
        ("account modelmanagement show", ""),
        ("env list", ""),
        ("env local", ""),
        ("env cluster", ""),
    ],
)
def test_the_command_line_of_2017_is_known(session: Session, line: str, flags: str) -> None:
    command, rest = session.find(line.split())
    assert command is not None
    assert rest == []
    known = {name for flag in command.flags for name in flag.names.split()}
    assert set(flags.split()) <= known


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("modle list", "unknown command `mlmgmt modle list`. Did you mean `model list`?"),
        ("model lst", "Did you mean `model list`?"),
        ("list models", "Did you mean `model list`?"),
        ("logs service", "Did you mean `service logs`?"),
        (
            "image delete",
            "`mlmgmt image delete` does not exist: the API has no delete of images, since a service may go back to one",
        ),
        ("model rm", "Hide it with `mlmgmt model archive`"),
        ("manifest rm", "`mlmgmt gc --delete` in a shell removes files that nothing uses"),
        ("service by", "unknown command `mlmgmt service by`.\n"),
        ("servise", "Did you mean `service`?"),
        ("modul show -m x", "Did you mean `model show`?"),
        ("list", "Did you mean one of `model list`, `manifest list`, `image list`, `service list`,"),
        ("scale", "unknown command `mlmgmt scale`.\n"),
        ("service scale -n x", "`mlmgmt service update -n NAME -z 3` sets the number of replicas"),
        ("help", "`mlmgmt -h` shows help"),
        ("service help", "`mlmgmt service -h` shows help"),
        ("--tag x", "the command is missing: put it before the flags"),
        ("operation -i x", "`mlmgmt operation` is not complete"),
        ("service list # all", "'#' is not understood. A command cannot contain a comment."),
        ("service run -n iris -d [[1, 2]]", "'2]]' is not understood. Put quotes around a value that has blanks."),
        ("service run iris", "Did you mean `-n iris`?"),
        ("model show iris", "Did you mean `-m iris`?"),
        ("model list --tga x", "'--tga' is not understood. Did you mean `--tag`?"),
        ("model show", "--model is missing"),
        ("model show -m", "expected one argument"),
        ("service create -n a --if-exists updte", "Did you mean `update`?"),
        ("service create -n a -z two", "--replicas is 'two', which is not a whole number"),
        ("service create -n a --autoscale-enabled maybe", "Give true or false"),
        ("operation watch", "--help"),
        ("model register -m x --if-exists reuse --new-version", "--if-exists reuse uses the latest version"),
        ("image create -n a --manifest-id b --new-version", "--manifest-id names a manifest that is registered"),
        ("service create -n a --image-id b --new-version", "--image-id names an image that is built"),
        ("service update -n a --image-id b --new-version", "--image-id names an image that is built"),
        ("service update -n a -z 2 --new-version", "--new-version has no effect: neither a driver nor a model"),
    ],
)
def test_mistakes_are_named(session: Session, line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        session.execute(line.split())
    assert message in str(caught.value)
    assert session.last_error is caught.value


def test_a_wrong_output_is_told_with_its_source_and_can_be_put_right(tmp_path: Path) -> None:
    session = Session(COMMANDS, config=Config(tmp_path / "config.toml", {"MLMGMT_OUTPUT": "jsno"}))
    with pytest.raises(UsageError, match=r"output is 'jsno' \(the environment: MLMGMT_OUTPUT\). Did you mean `json`"):
        session.execute(["model", "list"])
    assert session.execute(["config", "show"]).value is not None


def test_nothing_lists_the_commands(session: Session) -> None:
    shown = session.execute([]).value
    assert all(command.name in shown for command in COMMANDS)
    for tokens in (["service"], ["service", "-h"]):
        shown = session.execute(tokens).value
        assert "service create" in shown
        assert "model list" not in shown


def test_help_shows_what_is_needed_and_calls_the_magic_by_its_name(tmp_path: Path) -> None:
    magic = Session(COMMANDS, config=Config(tmp_path / "config.toml", {}), prog="%mlmgmt")
    shown = str(magic.execute(["service", "create", "-h"]).value)
    assert shown.startswith("usage: %mlmgmt service create -n SERVICE_NAME [flags]\n")
    assert "  -n, --name, --service-name SERVICE_NAME\n" in shown
    assert "\n  %mlmgmt service create -n iris" in shown
    assert "an image built from --driver is waited for" in re.sub(r"\s+", " ", shown)
    assert "usage: %mlmgmt operation watch OPERATION_ID [flags]" in magic.execute(["operation", "watch", "-h"]).value


def test_help_shows_defaults(session: Session) -> None:
    def shown(*words: str) -> str:
        return re.sub(r"\s+", " ", str(session.execute([*words, "-h"]).value))

    settings = shown("service", "update")
    assert "number of replicas (new services: 1)" in settings
    assert "target utilization, in percent (new services: 70)" in settings
    assert "such as 12h (new services: 7d)" in settings
    assert "show rows of the sample as the example of the service (default: true)" in settings
    assert "kind of image (default: Docker)" in shown("image", "create")
    assert "maximum seconds to wait (default: no limit)" in shown("operation", "watch")


def test_kinds_of_flags() -> None:
    flags = (
        Flag("-t --tag", "t", "many"),
        Flag("-z --count", "z", "integer"),
        Flag("--on", "o", "yes-no"),
        Flag("--no-wait", "w", "switch"),
        Flag("-d --data", "d", "value"),
        Flag("--form", "f", choices=("a", "b"), default="a"),
    )
    given = parse(["-t", "x", "-t", "y", "-z", "3", "--on", "--no-wait", "-d", '{"a": 1}'], *flags)
    assert vars(given) == {"tag": ["x", "y"], "count": 3, "on": True, "no_wait": True, "data": '{"a": 1}', "form": "a"}
    assert vars(parse([], *flags)) == {
        "tag": (),
        "count": None,
        "on": None,
        "no_wait": False,
        "data": None,
        "form": "a",
    }
    assert parse(["--on", "false"], *flags).on is False


def test_python_values_go_through_as_they_are() -> None:
    frame = object()
    given = parse(
        ["-d", frame, "-t", ["x", "y"], "-t", "z", "--on", True],
        Flag("-d --data", "d", "value"),
        Flag("-t --tag", "t", "many"),
        Flag("--on", "o", "yes-no"),
    )
    assert given.data is frame
    assert given.tag == ["x", "y", "z"]
    assert given.on is True
    with pytest.raises(UsageError, match="a Python value is not understood"):
        parse([frame])
