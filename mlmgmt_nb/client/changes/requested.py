"""Requirements that are not resolved yet, compared with locked versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mlmgmt_nb.contract.requirements import project_name

__all__ = ["unmet"]


def unmet(locked: Mapping[str, str], lines: Iterable[str]) -> Iterator[tuple[str, str | None, str]]:
    """Yield the requirements that locked versions do not meet: name, locked version, and the versions requested.

    Args:
        locked: versions by name.
        lines: lines of a requirements file; options, and lines with only a file or URL, are skipped.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    versions = {project_name(name): version for name, version in locked.items()}
    for line in lines:
        try:
            requirement = Requirement(line.partition(" #")[0].partition(" --hash")[0].strip())
        except InvalidRequirement:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        version = versions.get(project_name(requirement.name))
        try:
            is_met = version is not None and requirement.specifier.contains(version, prereleases=True)
        except InvalidVersion:  # for example, a commit
            is_met = False
        if requirement.url or not is_met:
            yield requirement.name, version, requirement.url or str(requirement.specifier) or "any version"
