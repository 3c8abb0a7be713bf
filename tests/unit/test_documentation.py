"""Everything public is documented: Python names, commands, settings, environment variables, REST operations."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb import cli, client, connect, contract, errors, packaging, schema
from mlmgmt_nb.commands import COMMANDS, Command, Flag
from mlmgmt_nb.commands.config import SETTINGS
from mlmgmt_nb.commands.session import COMMON, WAITING
from mlmgmt_nb.contract import OPERATIONS, openapi
from mlmgmt_nb.notebook import panels
from mlmgmt_nb.packaging import flavours
from mlmgmt_nb.scoring.batching import batched
from mlmgmt_nb.scoring.threads import threaded
from mlmgmt_nb.service.access.permissions import NEEDED
from mlmgmt_nb.service.access.principals import Role
from mlmgmt_nb.service.api.resources import EXTENSIONS
from tests.support import documentation as check

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".docs"
MODULES = (importlib.import_module("mlmgmt_nb"), client, schema, errors, contract, panels, packaging, flavours)
"""What users import from."""
OTHERS = {"mlmgmt_nb.scoring.batching.batched": batched, "mlmgmt_nb.scoring.threads.threaded": threaded}
"""What drivers import besides."""
INTERNAL = {"mlmgmt_nb.contract.Operation"}
FOREIGN = {"PATH", "PYTHONPATH", "VOILA_KERNEL_ID", "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"} | {
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED"  # these two are set, for the exporter to send nothing about itself
}
"""Variables of others, which nobody sets for us."""


def _generated() -> Any:
    sys.path.insert(0, str(SITE))
    try:
        return importlib.import_module("generated")
    finally:
        sys.path.remove(str(SITE))


def _page(name: str) -> str:
    page: str = _generated().filled((SITE / name).read_text())
    return page


@pytest.mark.parametrize(
    ("limits", "shown"),
    [
        ({"minimum": 0, "maximum": 1}, "number; at least `0`; at most `1`"),
        ({"minimum": 0, "exclusiveMinimum": True, "maximum": 1}, "number; above `0`; at most `1`"),
        ({"maximum": 1, "exclusiveMaximum": True}, "number; below `1`"),
    ],
)
def test_limits_of_numbers_in_the_reference(limits: dict[str, Any], shown: str) -> None:
    assert _generated()._kind({"type": "number", **limits}) == shown


def _workspace_classes() -> dict[str, type]:
    """Return the classes of what a workspace has: `ws.models`, `ws.services`, ..."""
    account = "http://127.0.0.1:9/api/subscriptions/s/resourceGroups/g/accounts/a"
    with connect(base_url=account, token="none") as workspace:
        parts = [type(part) for name, part in vars(workspace).items() if not name.startswith("_")]
    return {f"{part.__module__}.{part.__qualname__}": part for part in parts if part.__module__.startswith("mlmgmt_nb")}


def _reachable() -> dict[str, Any]:
    """Return what users meet without a name for it in a public module: what a workspace has, and what methods give."""
    known = {**dict(check.public_names(MODULES)), **OTHERS}
    met: dict[str, Any] = {}
    waiting = [*known.values(), *_workspace_classes().values()]
    while waiting:
        thing = waiting.pop()
        if thing not in met.values():
            met[f"{thing.__module__}.{thing.__qualname__}"] = thing
            waiting += check.given(thing)
    return {name: thing for name, thing in met.items() if thing not in known.values()}


def _on_python_pages(name: str, thing: Any) -> bool:
    pages = "\n".join(path.read_text() for path in (SITE / "python").glob("*.rst"))
    whole = {match[1] for match in re.finditer(r"automodule:: (\S+)\n(?:   :(?!no-members)\S+:.*\n)+", pages)}
    single = set(re.findall(r"auto(?:class|function):: (\S+)", pages))
    of_modules = {f"{module}.{part}" for module in whole for part in importlib.import_module(module).__all__}
    named = {name, f"{thing.__module__}.{thing.__qualname__}"}
    return bool(named & of_modules) or name.rpartition(".")[2] in single or any(_is_at(path, thing) for path in single)


def _is_at(path: str, thing: Any) -> bool:
    module, _, name = path.rpartition(".")
    return module.startswith("mlmgmt_nb") and getattr(importlib.import_module(module), name) is thing


# Python


@pytest.mark.parametrize(("name", "thing"), [*check.public_names(MODULES), *OTHERS.items()])
def test_a_public_name_is_documented(name: str, thing: Any) -> None:
    assert not list(check.undocumented(name, thing))
    assert name in INTERNAL or _on_python_pages(name, thing)


def test_what_users_meet_besides_is_documented() -> None:
    reachable = _reachable()
    assert "mlmgmt_nb.client.models.Models" in reachable
    assert "mlmgmt_nb.client.auth.identity.Identity" in reachable
    faults = [fault for name, thing in reachable.items() for fault in check.undocumented(name, thing, is_made=False)]
    assert not faults
    assert not [name for name, thing in reachable.items() if not _on_python_pages(name, thing)]


def test_the_extension_is_documented() -> None:
    for name in ("load_ipython_extension", "unload_ipython_extension"):
        assert not list(check.undocumented(name, getattr(MODULES[0], name)))


class MadeUp:
    """A thing with faults."""

    def silent(self) -> None:
        pass

    def vague(self, amount: int) -> None:
        """Do something."""
        if amount < 0:
            raise errors.UsageError("no")

    def raising(self) -> None:
        """Do something."""
        raise UsageError("no")

    def right(self, amount: int) -> None:
        """Do something with an amount."""


UsageError = errors.UsageError


def test_undocumented_names_are_found() -> None:
    module = types.ModuleType("made_up")
    vars(module).update(__all__=["MadeUp"], MadeUp=MadeUp)
    ((name, thing),) = check.public_names([module])
    assert list(check.undocumented(name, thing)) == [
        "made_up.MadeUp.silent has no docstring",
        "made_up.MadeUp.vague takes amount, and its docstring does not name it",
        "made_up.MadeUp.raising raises UsageError, and its docstring does not say so",
    ]
    assert not _on_python_pages(name, thing)
    assert list(check.undocumented("nameless", lambda: None)) == ["nameless has no docstring"]


# Commands


def test_every_command_and_flag_is_documented() -> None:
    page = _page("commands.md")
    assert not list(check.undocumented_commands(COMMANDS, [*COMMON, *WAITING], page))


def test_every_command_of_the_service_is_documented() -> None:
    page = _page("commands.md")
    (commands,) = [a for a in cli.service_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert set(commands.choices) == cli._OWN - {"--version"}
    for name, parser in commands.choices.items():
        section = re.search(rf"^### mlmgmt {name}$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, name
        assert parser.description, name
        assert not [action.dest for action in parser._actions if not action.help]
        for action in parser._actions:
            if action.help != argparse.SUPPRESS:
                assert all(f"{option}" in section[1] for option in action.option_strings), (name, action.dest)


def test_every_flag_of_serve_is_with_the_settings() -> None:
    page = _page("configuration.md")
    (commands,) = [a for a in cli.service_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    flags = [a.option_strings[-1] for a in commands.choices["serve"]._actions if a.help != argparse.SUPPRESS]
    assert len(flags) > 20
    assert not [flag for flag in flags if f"`{flag}" not in page and flag != "--help"]


def test_undocumented_commands_are_found() -> None:
    page = "### mlmgmt cake bake\n\n| `-t, --time MINUTES` | how long |\n"
    baked: Command[Any] = Command(
        ("cake", "bake"), "Bake", "mlmgmt cake bake", lambda _s, _a: None, (Flag("-t --time", ""),)
    )
    hidden: Command[Any] = Command(("cake", "eat"), "", "", lambda _s, _a: None)
    assert list(check.undocumented_commands([baked, hidden], [Flag("--oven", "which")], page)) == [
        "-t --time of cake bake has no help",
        "cake eat has no help or no example",
        "cake eat is not on the page",
        "--oven of every command is not on the page",
    ]


# Settings and the environment


def test_every_setting_and_environment_variable_is_documented() -> None:
    page = _page("configuration.md")
    sources = check.sources(ROOT / "mlmgmt_nb")
    read = {variable for source in sources.values() for variable in check.environment_of(source)} - FOREIGN
    docker = {f"MLMGMT_{name}" for name in ("BASE_IMAGE", "BASE_IMAGE_SPARK", "REGISTRY", "PIP_CONFIG")}
    settings = {f"MLMGMT_{name.upper()}" for name in SETTINGS}
    assert {"MLMGMT_TOKEN", "MLMGMT_DOCKER_FORWARD", "AZURE_CLIENT_SECRET", "DOCKER_HOST"} <= read
    assert not {name for name in read | docker | settings if not re.search(rf"`{name}\b", page)}
    # Names that are put together: those of the settings, and of the flags for Docker images.
    made_up = {path for path, source in sources.items() if check.made_up_variables(source)}
    assert made_up == {"commands/config.py", "cli/serve.py"}


def test_every_variable_on_the_page_is_one() -> None:
    sources = check.sources(ROOT / "mlmgmt_nb")
    read = {variable for source in sources.values() for variable in check.environment_of(source)}
    known = read | {f"MLMGMT_{name.upper()}" for name in SETTINGS}
    known |= {f"MLMGMT_{name}" for name in ("BASE_IMAGE", "BASE_IMAGE_SPARK", "REGISTRY", "PIP_CONFIG")}
    known |= {f"MLMGMT_UNPACK_{name}" for name in ("MEMBERS", "BYTES", "RATIO")}
    pages = (ROOT / "README.md").read_text() + _page("configuration.md")
    assert not {name for name in re.findall(r"\bMLMGMT_[A-Z_]*[A-Z]\b", pages) if name not in known}


@pytest.mark.parametrize(
    "source",
    [
        'os.environ.get("MLMGMT_CAKE")',
        'os.environ["MLMGMT_CAKE"]',
        'self._environment.get("MLMGMT_CAKE")',
        '"MLMGMT_CAKE" in os.environ',
        'name = "MLMGMT_CAKE"',
        'os.getenv("MLMGMT_CAKE")',
    ],
)
def test_variables_are_found(source: str) -> None:
    assert check.environment_of(source) == {"MLMGMT_CAKE"}
    assert check.environment_of(source.replace("MLMGMT_", "AZURE_")) == (
        {"AZURE_CAKE"} if not source.startswith("name") else set()
    )
    assert check.made_up_variables('os.environ[f"MLMGMT_{name}"]') == ["MLMGMT_"]


# REST


def test_every_operation_is_documented() -> None:
    page = _page("rest.md")
    for operation in OPERATIONS.values():
        heading = re.escape(f"{operation.method} {operation.path}")
        section = re.search(rf"^```text\n{heading}\n```(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, operation.id
        assert f"`{operation.id}`" in section[1]
        assert not [parameter.name for parameter in operation.query if f"`{parameter.name}`" not in section[1]]
        assert not [status for status in operation.answers if f"| {status} |" not in section[1]]
        if operation.body is not None:
            assert f"Body: [{operation.body.__name__}](#{operation.body.__name__.lower()})" in section[1]


def test_every_extension_is_documented() -> None:
    page = _page("rest.md")
    for pattern, methods in EXTENSIONS.items():
        for method, handler in methods.items():
            path = "/".join(pattern).replace("*", "")
            assert re.search(rf"^### {method} /{re.escape(path)}", page, re.MULTILINE), (method, pattern)
            assert (inspect.getdoc(handler) or "") in page
            assert inspect.getdoc(handler), (method, pattern)


def test_every_type_is_documented() -> None:
    page = _page("rest.md")
    for name, described in openapi.document()["components"]["schemas"].items():
        if name == "NullValue":
            continue  # null, as the page says
        section = re.search(rf"^### {name}$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, name
        assert not [key for key in described.get("properties", {}) if f"`{key}`" not in section[1]]


# Security


def test_every_promise_of_security_names_tests_that_are_there() -> None:
    promises = _page("security.md").partition("## Promises")[2].partition("## Roles")[0]
    found = re.findall(r"^- (.*?)(?=^- |^#|^$)", promises, re.MULTILINE | re.DOTALL)
    assert len(found) > 10
    for promise in found:
        named = re.findall(r"`(tests/[\w/.]+)`", promise)
        assert named, promise
        assert not [path for path in named if not (ROOT / path).is_file()], promise


def test_the_table_of_roles_has_every_action() -> None:
    page = _page("security.md")
    rows = re.findall(r"^\| `(\w+ /\S*)` \| (yes|no) \| yes \|$", page, re.MULTILINE)
    assert len(rows) == len(NEEDED)
    assert [may_reader == "yes" for _, may_reader in rows] == [role <= Role.READER for role in NEEDED.values()]
    shown = {request for request, may_reader in rows if may_reader == "yes"}
    assert "GET /services/{id}/logs" in shown
    assert not {"GET /services/{id}/keys", "GET /audit", "GET /artifacts/*", "GET /images/{id}/context"} & shown
