"""Substitutes for packages that drivers have imported since 2017.

An installed package that can be imported takes precedence, also partially: next to an installed `azureml.core`, a
missing `azureml.api` still comes from here. A package that is installed but cannot be imported, as is common for old
packages on a current Python, is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mlmgmt_nb.scoring.compat import table

__all__ = ["install", "is_ours"]


def _fill(module: ModuleType) -> None:
    """Add our names to a module from which drivers import them; `*` stands for any name that is requested."""
    for source, names in table.EXPORTS[module.__name__].items():
        ours = import_module(source)
        for name in names:
            theirs = "__getattr__" if name == "*" else name.rpartition("=")[0] or name
            setattr(module, theirs, ours if name == source else _named(ours, theirs if name == "*" else name))


def _named(ours: ModuleType, name: str) -> Any:
    return getattr(ours, name.rpartition("=")[2])


def _is_package(fullname: str) -> bool:
    return any(name.startswith(f"{fullname}.") for name in (*table.EXPORTS, *table.MOVED))


class _Loader(Loader):
    """A loader that fills a module with our names."""

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - the protocol of loaders
        return None

    def exec_module(self, module: ModuleType) -> None:
        _fill(module)


class _AliasLoader(Loader):
    """A loader that substitutes the new module for a moved one."""

    def __init__(self, target: str) -> None:
        self._target = target

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - the protocol of loaders
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(self._target)


class _Finder(MetaPathFinder):
    """The last finder: finds packages that are not installed."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol of finders
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname in table.EXPORTS:
            return ModuleSpec(fullname, _Loader(), origin="mlmgmt_nb", is_package=_is_package(fullname))
        for moved, place in table.MOVED.items():
            if fullname == moved or fullname.startswith(f"{moved}."):
                return ModuleSpec(fullname, _AliasLoader(place + fullname.removeprefix(moved)), is_package=True)
        return None


class _GuardedLoader(Loader):
    """A loader of an installed module that falls back to our names."""

    def __init__(self, installed: Loader) -> None:
        self._installed = installed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._installed, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._installed.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._installed.exec_module(module)
        except Exception as error:  # noqa: BLE001 - whatever old packages do on a Python of today
            name = module.__name__
            sys.stderr.write(
                f"{name} is installed but cannot be imported ({type(error).__name__}: {error}): using the substitute\n"
            )
            _forget_parts(name)
            if _is_package(name):
                module.__path__ = []
            _fill(module)


def _forget_parts(name: str) -> None:
    """Drop submodules that a failed import left behind."""
    for part in [part for part in sys.modules if part.startswith(f"{name}.")]:
        del sys.modules[part]


class _Guard(MetaPathFinder):
    """The first finder: guards the loading of installed modules that have a substitute here."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in table.EXPORTS:
            return None
        for finder in sys.meta_path:
            spec = None if isinstance(finder, (_Guard, _Finder)) else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None and spec.origin not in (None, "namespace"):
                    spec.loader = _GuardedLoader(spec.loader)
                return spec
        return None


def is_ours(module: ModuleType) -> bool:
    """Return whether a module that drivers import is ours, not that of an installed package."""
    origin = getattr(module.__spec__, "origin", None)
    return origin == "mlmgmt_nb"


def install() -> None:
    """Make the imports work in this process; further calls do nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Guard())
        sys.meta_path.append(_Finder())
