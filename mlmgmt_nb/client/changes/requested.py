"""Requirements that are not resolved yet, compared with locked versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from mlmgmt_nb.contract.requirements import project_name

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["unmet"]


def unmet(locked: Mapping[str, str], lines: Iterable[str]) -> Iterator[tuple[str, str | None, str]]:
    """Yield the requirements that locked versions do not meet: name, locked version, and the versions requested.

    Args:
        locked: versions by name.
        lines: lines of a requirements file; options, and lines with only a file or URL, are skipped.
    """
    versions = {project_name(name): version for name, version in locked.items()}
    for line in lines:
        requirement = _requirement(line)
        if requirement is None:
            continue
        version = versions.get(project_name(requirement.name))
        if requirement.url or not _is_met(requirement, version):
            yield requirement.name, version, requirement.url or str(requirement.specifier) or "any version"


def _requirement(line: str) -> Requirement | None:
    """Return the requirement of a line; None if it has none, or if its marker excludes this environment."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line.partition(" #")[0].partition(" --hash")[0].strip())
    except InvalidRequirement:
        return None
    is_excluded = requirement.marker is not None and not requirement.marker.evaluate()
    return None if is_excluded else requirement


def _is_met(requirement: Requirement, version: str | None) -> bool:
    from packaging.version import InvalidVersion

    try:
        return version is not None and requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:  # for example, a commit
        return False
