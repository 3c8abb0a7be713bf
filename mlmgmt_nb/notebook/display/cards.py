"""Cards of API resources, and the table of all types that have a display."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlmgmt_nb.notebook.display.card import Card, Shown, rows_of
from mlmgmt_nb.notebook.display.outcomes import ComparisonDisplay, DeployedDisplay, ReportDisplay, UsageDisplay
from mlmgmt_nb.notebook.display.records import log_text, records

__all__ = ["CHANGE", "POLLER", "candidate_card", "card_of", "cards", "service_card", "versioned"]

_RESOURCES, _VALUES = "mlmgmt_nb.contract.resources", "mlmgmt_nb.commands.values"
POLLER = ("mlmgmt_nb.client.polling.poller", "Poller")
CHANGE = ("mlmgmt_nb.client.services.candidates", "ProposedChange")


def card_of(resource: Any) -> Card:
    """Return the card of an API resource."""
    by_name = {name: card for module, name, card in cards() if module == _RESOURCES}
    shown = by_name[_name_among(by_name, resource)](resource)
    assert isinstance(shown, Card)
    return shown


def cards() -> Iterator[tuple[str, str, Callable[[Any], Shown | str]]]:
    """Yield the module and name of each type that has a display, and the function that creates the display."""
    resources: Mapping[str, Callable[[Any], Card]] = {
        "Model": _model,
        "Manifest": _manifest,
        "Image": _image,
        "ServiceResponse": _service,
        "Deployment": _deployment,
        "AsyncOperationStatus": _operation,
    }
    yield from ((_RESOURCES, name, card) for name, card in resources.items())
    yield "mlmgmt_nb.client.deploying.verification", "DeployedService", DeployedDisplay
    yield *POLLER, _poller
    yield "mlmgmt_nb.contract.changes", "Candidate", candidate_card
    yield *CHANGE, lambda change: candidate_card(change.candidate)
    yield _VALUES, "SecretText", repr
    yield _VALUES, "ServiceLog", log_text
    yield _VALUES, "Text", lambda text: str(text).rstrip("\n")
    yield "mlmgmt_nb.commands.usage", "Usage", UsageDisplay
    yield _VALUES, "Settings", _settings
    yield _VALUES, "Keys", _keys
    yield "mlmgmt_nb.commands.verbs.drivers", "CheckedDriver", str
    yield "mlmgmt_nb.client.scoring_tests.report", "ScoringReport", ReportDisplay
    yield "mlmgmt_nb.client.changes.difference", "Difference", ComparisonDisplay
    yield "mlmgmt_nb.client.drift.report", "Drift", ComparisonDisplay
    yield "mlmgmt_nb.client.replays.report", "ReplayReport", ComparisonDisplay
    yield from records()


def versioned(item: Any) -> str:
    """Return the name and version of a resource."""
    return f"{item.name} version {item.version}" if item.version is not None else str(item.name)


def _named(item: Any) -> str | None:
    return None if item is None else f"{versioned(item)}: {item.id}"


def _message(error: Any) -> str | None:
    return None if error is None else str(error.message)


def _archived(version: Any) -> str | None:
    return "archived" if getattr(version, "archived", False) else None


def _model(model: Any) -> Card:
    rows = rows_of(
        ("id", model.id),
        ("created", model.created_at),
        ("tags", model.tags),
        ("description", model.description),
        ("type", model.mime_type),
        ("url", model.url),
    )
    return Card("model", versioned(model), _archived(model), rows)


def _manifest(manifest: Any) -> Card:
    rows = rows_of(
        ("id", manifest.id),
        ("created", manifest.created_time),
        ("driver", manifest.driver_program),
        ("assets", [str(asset.id) for asset in manifest.assets]),
        ("models", manifest.model_ids),
        ("runtime", manifest.target_runtime.runtime_type),
        ("description", manifest.description),
    )
    return Card("manifest", versioned(manifest), _archived(manifest), rows)


def _image(image: Any) -> Card:
    rows = rows_of(
        ("id", image.id),
        ("archived", "yes" if _archived(image) else None),
        ("created", image.created_time),
        ("manifest", _named(image.manifest)),
        ("compute", image.compute_resource_id),
        ("location", image.image_location),
        ("Docker image", image.docker.summary if getattr(image, "docker", None) else None),
        ("build log", image.image_build_log_uri),
        ("error", _message(image.error)),
        ("description", image.description),
    )
    return Card("image", versioned(image), image.creation_state, rows)


def service_card(service: Any) -> Card:
    """Return the card of a service: its condition and, if they differ, the state of its last operation."""
    from mlmgmt_nb.client.monitoring.conditions import condition

    now = condition(service)
    rows = rows_of(
        ("last operation", None if now == service.state else service.state),
        ("id", service.id),
        ("scoring URL", service.scoring_uri),
        ("updated", service.updated_at),
        ("created", service.created_at),
        ("replicas", _replicas(service)),
        ("models", [_named(model) for model in service.models or ()]),
        ("image", _named(service.image)),
        ("manifest", _named(service.manifest)),
        ("compute", service.compute_resource.id),
        ("environment", [f"{name}={value}" for name, value in (getattr(service, "environment", None) or {}).items()]),
        ("secrets", getattr(service, "secrets", None)),
        ("recording", _recording(service)),
        ("last change", _last_change(service)),
        ("candidate", _candidate(service)),
        ("warning", getattr(service, "warning", None)),
        ("error", _message(service.error)),
    )
    return Card("service", service.name or "", now, rows)


def _recording(service: Any) -> str | None:
    recording = getattr(service, "recording", None)
    return None if recording is None else str(recording)


def candidate_card(candidate: Any) -> Card:
    """Return the card of a candidate of a service."""
    name = (candidate.name or "").partition("/")[0]
    rows = rows_of(
        ("URL", candidate.scoring_uri),
        ("removed", candidate.expires_at),
        ("proposed by", candidate.proposed_by),
        ("reason", candidate.reason),
        ("canary", _canary(candidate.canary)),
        ("mirror", _mirror(candidate.mirror)),
        ("replicas", _replicas(candidate)),
        ("image", _named(candidate.image)),
        ("models", [_named(model) for model in candidate.models or ()]),
        ("id", candidate.id),
        ("error", _message(candidate.error)),
        ("promote", f"%mlmgmt service promote -n {name}"),
        ("discard", f"%mlmgmt service discard -n {name}"),
    )
    return Card("candidate of service", name, candidate.state, rows)


def _mirror(mirror: Any) -> str | None:
    """Return the mirror of a candidate in one line: its state, share and counts."""
    if mirror is None:
        return None
    counts = f"{mirror.pairs:,} pairs of answers, {mirror.dropped:,} dropped, {mirror.skipped:,} skipped"
    return f"{mirror.state}: {mirror.share:g} % of the requests, {counts}. {mirror.reason}".rstrip()


def _canary(canary: Any) -> str | None:
    """Return the canary of a candidate in one line: its state, share and steps, and the reason for its verdict."""
    if canary is None:
        return None
    steps = ", ".join(f"{step.share:g}" for step in canary.steps)
    return f"{canary.state}: {canary.share:g} % of the requests (steps: {steps}). {canary.reason}".rstrip()


def _candidate(service: Any) -> str | None:
    candidate = getattr(service, "candidate", None)
    return None if candidate is None else candidate.summary


def _last_change(service: Any) -> str | None:
    deployment = getattr(service, "last_change", None)
    return None if deployment is None else deployment.summary


def _service(service: Any) -> Card:
    """Return the card of a service, with the command that opens its panel."""
    card = service_card(service)
    return card._replace(rows=[*card.rows, ("panel", f"%mlmgmt service panel -n {service.name}")])


def _replicas(service: Any) -> str | None:
    scaler = service.auto_scaler
    if scaler is not None and scaler.autoscale_enabled:
        least = 1 if scaler.min_replicas is None else scaler.min_replicas
        most = 10 if scaler.max_replicas is None else scaler.max_replicas
        return f"{least} to {max(least, most)}, by load"
    return None if service.num_replicas is None else str(service.num_replicas)


def _deployment(deployment: Any) -> Card:
    rows = rows_of(
        ("id", deployment.id),
        ("image", deployment.image_id),
        ("created", deployment.created_at),
        ("expired", deployment.expired_at),
        ("change", getattr(deployment, "summary", None)),
        ("replaces", getattr(deployment, "replaces", None)),
        ("restores", getattr(deployment, "restores", None)),
    )
    return Card("deployment of", deployment.service_name or "", deployment.status, rows)


def _operation(operation: Any) -> Card:
    rows = rows_of(
        ("id", operation.id),
        ("created", operation.created_time),
        ("ended", operation.end_time),
        ("resource", operation.resource_location),
        ("warning", getattr(operation, "warning", None)),
        ("error", _message(operation.error)),
    )
    return Card("operation", (operation.operation_type or "").lower(), operation.state, rows)


def _poller(poller: Any) -> Shown:
    """Return the card of the resulting image or service; until the operation has succeeded, its last known state."""
    operation = poller.operation
    if operation is not None and operation.state == "Succeeded":
        made = _made(poller)
        if made is not None:
            return made
    if operation is not None:
        return _operation(operation)
    watch = f"%mlmgmt operation watch {poller.operation_id}"
    return Card("operation", "", None, [("id", poller.operation_id), ("wait", watch)])


def _made(poller: Any) -> Shown | None:
    """Return the card of the result of an operation; None if the result was deleted or the server cannot be reached."""
    from mlmgmt_nb.errors import MlmgmtError

    try:
        resource = poller.result()
    except MlmgmtError:
        return None
    cards: Mapping[str, Callable[[Any], Shown]] = {
        "Image": _image,
        "ServiceResponse": _service,
        "DeployedService": DeployedDisplay,
    }
    name = _name_among(cards, resource)
    return cards[name](resource) if name else None


def _name_among(cards: Mapping[str, Any], resource: Any) -> str:
    """Return the name of the first class in the resource's MRO that has a card, or ""."""
    return next((base.__name__ for base in type(resource).__mro__ if base.__name__ in cards), "")


def _keys(keys: Any) -> Card:
    return Card("keys", "", None, list(keys.masked().items()))


def _settings(settings: Any) -> str:
    from mlmgmt_nb.commands.output.formats import formatted

    return formatted(settings, "table")
