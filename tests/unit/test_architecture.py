"""The rules of the house: what may import what, what is cheap to import, and what is public."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[2]
MOST_FILES = 15
"""In a folder, with its `__init__.py`."""
MOST_COMPLEXITY = 10
HEAVY = {"azure.identity", "ipywidgets", "pandas", "sqlalchemy", "uvicorn"}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "mlmgmt_nb").rglob("*.py")
    if path.stem != "__main__"
)
PACKAGES = [name for name in MODULES if (ROOT / name.replace(".", "/")).is_dir()]
PUBLIC = [name for name in PACKAGES if not name.startswith(("mlmgmt_nb.service", "mlmgmt_nb.cli"))] + [
    "mlmgmt_nb.errors",
    "mlmgmt_nb.local",
]
"""What users import from. The service is used over HTTP and by its command line."""


def test_rooms_import_only_what_they_may() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions and for type checking count too; those of the package itself, which are lazy, do not."""
    graph = grimp.build_graph("mlmgmt_nb", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules - {"mlmgmt_nb"}}
    assert len(imports) > 300
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_folders_are_small() -> None:
    folders = Counter(path.parent.relative_to(ROOT) for path in (ROOT / "mlmgmt_nb").rglob("*.py"))
    assert not {folder: count for folder, count in folders.items() if count > MOST_FILES}


def test_functions_are_simple() -> None:
    """No function above the complexity, whatever is configured or exempt."""
    ruff = Path(sys.executable).with_name("ruff")
    rule = ["--select", "C901", "--config", f"lint.mccabe.max-complexity={MOST_COMPLEXITY}", "--ignore-noqa"]
    found = subprocess.run([ruff, "check", "--isolated", *rule, "mlmgmt_nb"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


CHEAP = {
    "the front door": (["mlmgmt_nb", "mlmgmt_nb.errors"], HEAVY | {"msgspec", "requests"}),
    "what users import": ([*PUBLIC, "mlmgmt_nb.cli"], HEAVY),
}
"""Modules, and what none of them may load."""


@pytest.mark.parametrize("kind", CHEAP)
def test_importing_is_cheap(kind: str) -> None:
    """In one process for all modules of a kind, since to start one takes longest."""
    modules, heavy = CHEAP[kind]
    code = (
        f"import importlib, sys\nfor name in {modules!r}:\n    importlib.import_module(name)\n"
        f"    if found := sys.modules.keys() & {heavy!r}:\n        sys.exit(f'{{name}} loads {{found}}')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_service_does_not_import_the_libraries_of_rare_settings() -> None:
    rare = {"cryptography", "docker", "jwt", "prometheus_client", "requests"}
    code = f"import sys, mlmgmt_nb.service.server; print(*sys.modules.keys() & {rare!r})"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


@pytest.mark.parametrize("name", sorted(set(PACKAGES) & set(PUBLIC)))
def test_public_is_what_is_listed(name: str) -> None:
    package = importlib.import_module(name)
    assert sorted(_visible(package)) == sorted(set(getattr(package, "__all__", ())) - {"__version__"})


def _visible(package: ModuleType) -> set[str]:
    return {
        name
        for name in dir(package)
        if not name.startswith("_") and name not in {"TYPE_CHECKING", "annotations"} and _ours(getattr(package, name))
    }


def _ours(value: Any) -> bool:
    """Whether it is of this project, and not a submodule or what another library gave."""
    if inspect.ismodule(value):
        return False
    return not _has_code(value) or value.__module__.startswith("mlmgmt_nb")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_is_there_and_described(name: str) -> None:
    module = importlib.import_module(name)
    listed = {public: getattr(module, public) for public in getattr(module, "__all__", ())}
    assert not [public for public, value in listed.items() if _has_code(value) and not inspect.getdoc(value)]
    members = {
        f"{public}.{member}": getattr(value, member)
        for public, value in listed.items()
        if inspect.isclass(value)
        for member, function in vars(value).items()
        if not member.startswith("_") and (inspect.isfunction(function) or isinstance(function, property))
    }
    assert not [member for member, value in members.items() if not inspect.getdoc(value)]


def _has_code(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)
