"""SDK packages that do not work on current Python versions and that the scoring runtime replaces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from mlmgmt_nb.contract.requirements import Option, Requirement, project_name
from mlmgmt_nb.service.files.logs import Log

__all__ = ["companions", "without_retired_indexes", "without_superseded", "working_releases"]

_ALWAYS = {
    "azure-ml-api-sdk": "azureml.api",
    "azureml-model-management-sdk": "azureml.api",
    "azureml-datacollector": "azureml.datacollector",
    "azureml-webservice-schema": "azureml.webservice_schema",
    "azureml-sdk-data-collector": "azureml.sdk.data_collector",
    "azureml-assets": "azureml.assets",
    "azureml-logging": "azureml.logging",
    "azureml-requirements": "azureml",
}
"""Packages without a working release, and the modules that replace them."""
_COMPANIONS = {
    "azure-ml-api-sdk": ["numpy", "pandas"],
    "azureml-model-management-sdk": ["numpy", "pandas"],
    "azureml-requirements": ["numpy", "pandas"],
}
"""Packages that came with those of 2017, as dependencies or in the base images, and that schemas use."""
_EXTRAS = {"numpy-support": "numpy", "pandas-support": "pandas"}
"""Packages that extras of `inference-schema` install."""
_MODULES = {
    "inference-schema": "inference_schema",
    "azureml-inference-server-http": "azureml_inference_server_http",
}
"""Modules that replace packages that are not part of the SDK."""
_RETIRED_INDEX = re.compile(r"https?://azureml(?:downloads|sdktestpypi)\.")
"""URLs of indexes of SDK packages that no longer exist."""
_SDK = frozenset(
    [
        "azureml-core",
        "azureml-defaults",
        "azureml-sdk",
        "azureml-telemetry",
        "azureml-contrib-services",
        "azureml-monitoring",
        "azureml-train",
        "azureml-train-core",
        "azureml-pipeline",
        "azureml-pipeline-core",
        "azureml-pipeline-steps",
        "azureml-automl-core",
        "azureml-automl-runtime",
        "azureml-train-automl",
        "azureml-train-automl-client",
        "azureml-train-automl-runtime",
        "azureml-dataprep",
        "azureml-explain-model",
        "azureml-widgets",
        "azureml-interpret",
    ]
)
"""Packages of the SDK of 2018 to 2025."""
_WORKS_SINCE = {
    # The first release that does not import `pkg_resources`, which Python no longer includes.
    **dict.fromkeys(_SDK, "1.60"),
    # The first release that allows a wrapt without `inspect.formatargspec`, which Python 3.11 removed.
    "inference-schema": "1.7.1",
    "azureml-inference-server-http": "0.8",  # the first release with the module `api`, which drivers import
}
"""First releases that install and import on the Python versions of the runtime, by package."""


def without_superseded(requirements: Iterable[Requirement], log: Log) -> list[Requirement]:
    """Return the requirements without packages that do not work; log the replacement of each."""
    return list(_without_superseded(requirements, log))


def companions(requirements: Iterable[Requirement]) -> list[str]:
    """Return the packages that were installed beside packages that do not work."""
    skipped = [requirement for requirement in requirements if _replacement(requirement)]
    return sorted({name for requirement in skipped for name in _came_with(requirement)})


def _came_with(requirement: Requirement) -> Iterator[str]:
    yield from _COMPANIONS.get(_project(requirement), [])
    yield from (name for extra, name in _EXTRAS.items() if extra in requirement.head)


def without_retired_indexes(options: Iterable[Option], log: Log) -> list[Option]:
    """Return the options without package indexes of the SDK that no longer exist; log each."""
    kept = []
    for option in options:
        if _RETIRED_INDEX.match(option.value):
            log.line(f"skipping {option.name} {urlsplit(option.value).hostname}: this package index no longer exists")
        else:
            kept.append(option)
    return kept


def _without_superseded(requirements: Iterable[Requirement], log: Log) -> Iterator[Requirement]:
    for requirement in requirements:
        modules = _replacement(requirement)
        if modules is None:
            yield requirement
        else:
            reason = f"it does not work on this Python; the runtime's own {modules} replaces it"
            log.line(f"skipping {_shown(requirement)}: {reason}")


def _replacement(requirement: Requirement) -> str | None:
    """Return the modules that replace a requirement that does not work."""
    name = _project(requirement)
    if requirement.location and not _RETIRED_INDEX.match(requirement.location):
        return None
    since = _WORKS_SINCE.get(name)
    if since and not requirement.location and not _admits_working(requirement.spec, since):
        return _MODULES.get(name, "azureml.core")
    return _ALWAYS.get(name)


def working_releases(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Return constraints that exclude old releases, which `uv` would select to get newer releases of other packages."""
    return [
        Requirement(requirement.number, f"{requirement.name}>={_WORKS_SINCE[requirement.name]}")
        for requirement in requirements
        if requirement.name in _WORKS_SINCE and not requirement.location
    ]


def _shown(requirement: Requirement) -> str:
    """Return a requirement without the query of its URL, which may contain a signature."""
    return requirement.spec.partition("?")[0] if requirement.location else requirement.spec


def _project(requirement: Requirement) -> str:
    """Return the project of a requirement; for a URL or path, from its file name."""
    if requirement.name or not requirement.location:
        return requirement.name
    return project_name(urlsplit(requirement.location).path.rpartition("/")[2].partition("-")[0])


def _admits_working(spec: str, since: str) -> bool:
    """Return whether a requirement allows a release that works."""
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed
    from packaging.version import Version

    try:
        specifier = Parsed(spec).specifier
    except InvalidRequirement:
        return True  # the resolution reports the problem
    minors = [version for minor in range(100) if Version(version := f"1.{minor}") >= Version(since)]
    named = [clause.version.removesuffix(".*") for clause in specifier if clause.operator in {"==", "===", "~=", ">="}]
    return any(specifier.contains(version) for version in [*minors, *(v for v in named if _is_since(v, since))])


def _is_since(version: str, since: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) >= Version(since)
    except InvalidVersion:
        return True
