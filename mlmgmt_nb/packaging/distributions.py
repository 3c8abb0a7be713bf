"""Installed distributions: the modules that they own, their dependencies, and their origins."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

__all__ = ["InstalledDistributions", "named", "origin_of", "path_of"]

_OURS = "mlmgmt-nb"
_NAME = re.compile(r"^Name:[ \t]*(\S+)", re.MULTILINE)


def named(name: str) -> str:
    """Return the normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


class InstalledDistributions:
    """The distributions of this kernel, read on first use. Names are normalized."""

    @cached_property
    def editable(self) -> Mapping[str, Path]:
        """The folders of editable installs, by distribution."""
        found = {}
        for installed in distributions():
            origin = origin_of(installed)
            if origin.get("dir_info", {}).get("editable") and named(installed.name) != _OURS:
                found[named(installed.name)] = Path(path_of(origin["url"])).resolve()
        return found

    @cached_property
    def _by_root(self) -> Mapping[str, set[str]]:
        """The distributions that provide each top-level module."""
        owners: dict[str, set[str]] = {}
        for installed in distributions():
            for root in _roots(installed):
                owners.setdefault(root, set()).add(_name(installed))
        return owners

    def roots(self) -> set[str]:
        """Return the top-level modules of all distributions."""
        return set(self._by_root)

    def roots_of(self, names: Iterable[str]) -> set[str]:
        """Return the top-level modules of some distributions."""
        wanted = set(names)
        return {root for root, owners in self._by_root.items() if owners & wanted}

    def owners(self, files: Mapping[str, str | None]) -> set[str]:
        """Return the distributions that some modules belong to.

        Args:
            files: the file of each module by its full name; None if unknown.
        """
        found: set[str] = set()
        for module, file in files.items():
            candidates = self._by_root.get(module.partition(".")[0], set())
            if len(candidates) > 1 and file:  # a namespace package that several distributions share
                candidates = {name for name in candidates if _has_file(name, file)}
            found |= candidates
            found |= {name for name, folder in self.editable.items() if file and Path(file).is_relative_to(folder)}
        return found - {_OURS}

    def closure(self, names: Iterable[str]) -> set[str]:
        """Return distributions together with their installed dependencies."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = named(waiting.pop())
            if name not in found and (installed := _installed(name)) is not None:
                found.add(name)
                waiting += [needed.name for needed in _required(installed)]
        return found - {_OURS}


def origin_of(installed: Distribution) -> Mapping[str, Any]:
    """Return the content of `direct_url.json`, which distributions have that were not installed from an index."""
    content = installed.read_text("direct_url.json")
    origin: dict[str, Any] = json.loads(content) if content else {}
    return origin


def path_of(url: str) -> str:
    """Return the path of a `file:` URL."""
    return unquote(urlsplit(url).path)


def _roots(installed: Distribution) -> set[str]:
    """Return the top-level modules of a distribution.

    `importlib.metadata.packages_distributions` returns the same, but creates a path object for each file, which takes a
    second if large frameworks are installed.
    """
    listed = installed.read_text("top_level.txt")
    if listed is not None:
        return set(listed.split())
    files = (installed.read_text("RECORD") or "").splitlines()
    return {root for line in files if (root := _root(line))}


def _root(line: str) -> str | None:
    """Return the top-level module in a line of a `RECORD` file; None for files that do not belong to a module."""
    first, slash, _ = line.partition(",")[0].partition("/")
    name = first if slash else inspect.getmodulename(first) or ""
    return name if name.isidentifier() else None


def _name(installed: Distribution) -> str:
    """Return the normalized name of a distribution from its metadata file, which is faster than parsing it."""
    found = _NAME.search(installed.read_text("METADATA") or "")
    return named(found[1] if found else installed.name)


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _required(installed: Distribution) -> Iterator[Requirement]:
    for line in installed.requires or ():
        try:
            needed = Requirement(line)
        except InvalidRequirement:
            continue
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield needed


def _has_file(name: str, file: str) -> bool:
    path = Path(file)
    return any(
        entry.name == path.name and Path(str(entry.locate())) == path for entry in distribution(name).files or ()
    )
