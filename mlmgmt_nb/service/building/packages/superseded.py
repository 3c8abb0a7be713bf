"""SDK packages that do not work on current Python versions and that the scoring runtime replaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlmgmt_nb.contract.requirements import Requirement
from mlmgmt_nb.service.files.logs import Log

__all__ = ["without_superseded"]

_ALWAYS = {
    "azure-ml-api-sdk": "azureml.api",
    "azureml-model-management-sdk": "azureml.api",
    "azureml-datacollector": "azureml.datacollector",
    "azureml-webservice-schema": "azureml.webservice_schema",
    "azureml-sdk-data-collector": "azureml.sdk.data_collector",
}
"""Packages without a working release, and the modules that replace them."""
_WORKS_SINCE = "1.60"
"""First release of the SDK of 2018 that imports without `pkg_resources`, which Python no longer includes."""
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


def without_superseded(requirements: Iterable[Requirement], log: Log) -> list[Requirement]:
    """Return the requirements without packages that do not work; log the replacement of each."""
    return list(_without_superseded(requirements, log))


def _without_superseded(requirements: Iterable[Requirement], log: Log) -> Iterator[Requirement]:
    for requirement in requirements:
        modules = _replacement(requirement)
        if modules is None:
            yield requirement
        else:
            log.line(
                f"skipping {requirement.spec}: it does not work on this Python; the runtime's own {modules} replaces it"
            )


def _replacement(requirement: Requirement) -> str | None:
    """Return the modules that replace a requirement that does not work."""
    if requirement.location or not requirement.name:
        return None
    if requirement.name in _SDK and not _admits_working(requirement.spec):
        return "azureml.core"
    return _ALWAYS.get(requirement.name)


def _admits_working(spec: str) -> bool:
    """Return whether a requirement admits a release that works."""
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        specifier = Parsed(spec).specifier
    except InvalidRequirement:
        return True  # the resolution reports the problem
    versions = [_WORKS_SINCE, *(f"1.{minor}" for minor in range(61, 100))]
    named = [clause.version.removesuffix(".*") for clause in specifier if clause.operator in {"==", "===", "~=", ">="}]
    return any(specifier.contains(version) for version in [*versions, *(v for v in named if _works(v))])


def _works(version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) >= Version(_WORKS_SINCE)
    except InvalidVersion:
        return True
