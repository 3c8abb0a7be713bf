"""Everything that decides how a service answers, in one form for images, deployments, services and sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mlmgmt_nb.client.bodies import ServiceSettings, settings_fields
from mlmgmt_nb.contract import Image, Model, ServiceResponse
from mlmgmt_nb.contract.contents import ContentFile, ImageContents
from mlmgmt_nb.short_repr import ShortRepr

__all__ = ["Contents", "changed_settings", "of_image", "service_settings"]

_PIN = re.compile(r"(\S+)==(\S+)")
_SETTINGS = (
    "num_replicas",
    "auto_scaler",
    "container_resource_reservation",
    "max_concurrent_requests_per_container",
    "data_collection",
    "app_insights_enabled",
    "recording",
    "environment",
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Contents(ShortRepr):
    """The parts to compare.

    Attributes:
        name: the owner of the contents, such as `image iris version 3`.
        models: the models.
        driver, schema: paths of the driver and its schema file.
        files: the files beside the driver, by path.
        packages: versions by name; None if they are not known.
        lists_all_packages: whether `packages` is complete, so that a package that it does not contain is absent.
        requested: requirements that are not resolved yet; None if `packages` are known.
        python: the Python version, or a base image; None if it is not known.
        settings: settings of the service by name; None for an image.
        notes: parts that are not known, in sentences.
    """

    name: str
    models: Sequence[Model] = ()
    driver: str = ""
    schema: str | None = None
    files: Mapping[str, ContentFile] = field(default_factory=dict)
    packages: Mapping[str, str] | None = None
    lists_all_packages: bool = True
    requested: Sequence[str] | None = None
    python: str | None = None
    settings: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()


def of_image(
    image: Image, found: ImageContents, models: Sequence[Model], settings: Mapping[str, Any] | None = None
) -> Contents:
    """Return the contents of an image, optionally with the settings of the service that runs it.

    Args:
        image: the image.
        found: the contents that the server reports.
        models: its models.
        settings: as of `service_settings`.
    """
    recorded = image.manifest.target_runtime.properties if image.manifest else {}
    packages = found.packages
    if packages is None and "kernelVersions" in recorded:  # it runs with the Python of a notebook
        packages = dict(_PIN.findall(recorded["kernelVersions"]))
    name = f"image {image.name} version {image.version}"
    return Contents(
        name=name,
        models=models,
        driver=found.driver,
        schema=found.schema,
        files={file.path: file for file in found.files},
        packages=packages,
        lists_all_packages=found.packages is not None,
        python=found.base or found.python,
        settings=settings,
        notes=[] if packages is not None else [f"The packages of {name} are not known."],
    )


def service_settings(service: ServiceResponse) -> dict[str, Any]:
    """Return the settings of a service by dotted name, with the variables of its driver and names of its secrets."""
    settings: dict[str, Any] = {}
    for name in _SETTINGS:
        _add(settings, name, msgspec.to_builtins(getattr(service, name, None)))
    for name in getattr(service, "secrets", None) or ():
        settings[f"secrets.{name}"] = "***"
    return settings


def changed_settings(settings: Mapping[str, Any], changes: ServiceSettings) -> dict[str, Any]:
    """Return the settings of `service_settings` after an update."""
    changed = dict(settings)
    fields = settings_fields(**changes)
    del fields["reason"]  # belongs to the change, not to the service
    for name, value in fields.items():
        if name == "secrets":
            value = _masked(value or {})
        if name in {"environment", "secrets"}:
            replaced = {f"{name}.{key}" for key in value or ()}
            changed = {key: old for key, old in changed.items() if key not in replaced}
        _add(changed, name, msgspec.to_builtins(value))
    return changed


def _masked(secrets: Mapping[str, Any]) -> dict[str, str | None]:
    """Return secrets without their values; None for a secret that is removed."""
    return {name: None if secret is None else "***" for name, secret in secrets.items()}


def _add(settings: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _add(settings, f"{name}.{key}", inner)
    elif value is not None:
        settings[name] = value
