"""Local code that a model needs: modules beside the notebook, and the local modules that they import."""

from __future__ import annotations

import ast
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlmgmt_nb.named_modules import imported_modules
from mlmgmt_nb.packaging.distributions import InstalledDistributions
from mlmgmt_nb.packaging.flavours.base import copied

__all__ = ["LocalModules", "imports_of"]


class LocalModules:
    """Copy local modules into an application folder.

    Args:
        folder: the application folder.
        installed: the distributions of this kernel, whose modules are not copied.

    Attributes:
        names: names of the copied files and folders.
        imports: top-level modules that the copied code imports.
    """

    def __init__(self, folder: Path, installed: InstalledDistributions) -> None:
        self.names: list[str] = []
        self.imports: set[str] = set()
        self.installed = installed
        self._folder = folder
        self._done: set[str] = set()

    def copy_imported(self, names: Iterable[str]) -> bool:
        """Copy the local modules among these names, and the local modules that they import. Return whether any was."""
        before = len(self.names)
        waiting = {name.partition(".")[0] for name in names}
        while waiting:
            name = waiting.pop()
            path = None if name in self._done else self._local(name)
            self._done.add(name)
            if path is not None:
                self.names.append(copied(path, self._folder))
                imported = {root for file in _sources(path) for root in imports_of(file.read_bytes())}
                self.imports |= imported
                waiting |= imported
        return len(self.names) > before

    def _local(self, name: str) -> Path | None:
        """Return the file or folder of a top-level module that is local rather than installed, or None."""
        if not name.isidentifier() or name in {"__main__", "mlmgmt_nb"} or name in sys.stdlib_module_names:
            return None
        path = _path_of(name)
        elsewhere = [*_installed_folders(), *self.installed.editable.values()]
        return None if path is None or any(path.is_relative_to(folder) for folder in elsewhere) else path


def imports_of(source: bytes | str) -> Iterator[str]:
    """Yield the top-level modules that source code imports anywhere."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from (name.partition(".")[0] for name in imported_modules(ast.walk(tree)))


def _path_of(name: str) -> Path | None:
    """Return the `.py` file of a module, the folder of a package, or None."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if folders:
        return Path(folders[0]).resolve()
    origin = getattr(sys.modules.get(name), "__file__", None) or (spec.origin if spec is not None else None)
    return Path(origin).resolve() if origin and origin.endswith(".py") else None


def _installed_folders() -> list[Path]:
    paths = sysconfig.get_paths()
    known = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    return [Path(folder).resolve() for folder in (*known, site.getusersitepackages())]


def _sources(path: Path) -> Iterable[Path]:
    return [path] if path.is_file() else path.rglob("*.py")
