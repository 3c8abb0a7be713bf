"""Imports that drivers have made since 2017, answered by our own implementations.

`install()` puts a finder behind all others, so a package that is really installed always wins, also in part: beside an
installed `azureml.core` the missing `azureml.api` still comes from here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from mlmgmt_nb.scoring.compat import table

__all__ = ["install"]


class _Loader(Loader):
    """Fills a module with names of ours."""

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - the protocol of loaders
        return None

    def exec_module(self, module: ModuleType) -> None:
        for source, names in table.EXPORTS[module.__name__].items():
            ours = import_module(source)
            for name in names:
                setattr(module, name, ours if name == source else getattr(ours, name))


class _Finder(MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol of finders
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname not in table.EXPORTS:
            return None
        is_package = any(name.startswith(f"{fullname}.") for name in table.EXPORTS)
        return ModuleSpec(fullname, _Loader(), origin="mlmgmt_nb", is_package=is_package)


def install() -> None:
    """Makes the imports work in this process, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
