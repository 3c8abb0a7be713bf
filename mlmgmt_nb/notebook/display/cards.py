"""Cards of resources: HTML for a notebook, aligned text for a terminal. Both are static and need no kernel."""

from __future__ import annotations

import datetime as dt
import html
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from mlmgmt_nb.terminal import encodable, one_line, printable

__all__ = ["Card", "badge", "bundle", "card_of", "deployed_bundle", "register", "service_card", "unregister"]

_COLORS = {
    "Succeeded": "#1a7f37",
    "Active": "#1a7f37",
    "Serving": "#1a7f37",
    "Failed": "#c62828",
    "Not serving": "#c62828",
    "Cancelled": "#6e7781",
    "Running": "#0969da",
    "Deploying": "#0969da",
    "NotStarted": "#6e7781",
}
_RESOURCES, _VALUES = "mlmgmt_nb.contract.resources", "mlmgmt_nb.commands.values"
_POLLER = ("mlmgmt_nb.client.polling", "Poller")


_REPORT_USES = "ScoringReport: .summary, .results, .failures, .assert_ok(), .to_html(), .to_junit()"


class Shown(Protocol):
    """A value with a text form and an HTML form."""

    def text(self) -> str:
        """Return the text for a terminal."""

    def html(self) -> str:
        """Return the HTML for a notebook."""


class Card(NamedTuple):
    """The display of a resource: its kind, name and state, and rows of a label and a value (plain text or a time)."""

    kind: str
    name: str
    state: str | None
    rows: list[tuple[str, str | dt.datetime]]

    def lines(self, *, ages: bool = True) -> list[tuple[str, str]]:
        """Return the rows as text, optionally with the age of each time."""
        return [
            (label, _time(value, age=ages) if isinstance(value, dt.datetime) else value) for label, value in self.rows
        ]

    def text(self, *, ages: bool = True) -> str:
        """Return the text for a terminal."""
        head = " ".join(part for part in (self.kind, self.name, f"[{self.state}]" if self.state else "") if part)
        width = max((len(label) for label, _ in self.rows), default=0)
        rows = [f"  {label:<{width}}  {one_line(value)}" for label, value in self.lines(ages=ages)]
        return "\n".join([one_line(head), *rows])

    def html(self, *, ages: bool = True) -> str:
        """Return the HTML for a notebook."""
        head = f"<b>{html.escape(self.kind)} {html.escape(self.name)}</b> {badge(self.state) if self.state else ''}"
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>{_cell(b)}</td></tr>"
            for a, b in self.lines(ages=ages)
        )
        return f"<div>{head}<table>{rows}</table></div>"


def badge(state: str) -> str:
    """Return a state as HTML: a word, not only a color."""
    color = _COLORS.get(state, "#6e7781")
    style = f"color:#fff;background:{color};border-radius:0.6em;padding:0 0.6em"
    return f'<span style="{style}">{html.escape(state)}</span>'


def bundle(text: str, markup: str) -> dict[str, str]:
    """Return the MIME bundle of a display: text and HTML."""
    return {"text/plain": _fitting(text), "text/html": markup}


def card_of(resource: Any) -> Card:
    """Return the card of a resource of the API."""
    cards = {name: card for module, name, card in _cards() if module == _RESOURCES}
    shown = cards[_name_among(cards, resource)](resource)
    assert isinstance(shown, Card)
    return shown


def deployed_bundle(service: Any) -> dict[str, str]:
    """Return the display of a service that was proven, a `DeployedService`."""
    shown = _Deployed(service)
    return bundle(shown.text(), shown.html())


def register(shell: Any) -> None:
    """Register the displays of all resources, without importing their types."""
    itself = shell.display_formatter.ipython_display_formatter
    itself.for_type_by_name(*_POLLER, _leave_to_its_panel)
    for module, name, card in _cards():
        plain = shell.display_formatter.formatters["text/plain"]
        plain.for_type_by_name(module, name, lambda value, printer, _, card=card: printer.text(_text(card(value))))
        markup = shell.display_formatter.formatters["text/html"]
        markup.for_type_by_name(module, name, lambda value, card=card: _markup(card(value)))


def _leave_to_its_panel(poller: Any) -> None:
    """Display nothing if the running cell shows the operation already; IPython goes on to the other displays if not."""
    from mlmgmt_nb.notebook.display.shown import is_shown_here

    if not is_shown_here(poller):
        raise NotImplementedError


def unregister(shell: Any) -> None:
    """Remove the displays."""
    _remove(shell.display_formatter.ipython_display_formatter, *_POLLER)
    for module, name, _ in _cards():
        for kind in ("text/plain", "text/html"):
            _remove(shell.display_formatter.formatters[kind], module, name)


def _remove(formatter: Any, module: str, name: str) -> None:
    formatter.deferred_printers.pop((module, name), None)
    for known in [type_ for type_ in formatter.type_printers if (type_.__module__, type_.__name__) == (module, name)]:
        formatter.pop(known)


def _text(shown: Shown | str) -> str:
    return _fitting(shown if isinstance(shown, str) else shown.text())


def _fitting(text: str) -> str:
    """Return the text as the terminal can print it; a notebook can print every character."""
    return encodable(printable(text), getattr(sys.stdout, "encoding", None))


def _markup(shown: Shown | str) -> str:
    return f"<pre>{html.escape(shown)}</pre>" if isinstance(shown, str) else shown.html()


def _cell(value: str) -> str:
    escaped = html.escape(value)
    if value.startswith(("http://", "https://")):
        return f'<a href="{escaped}" target="_blank" rel="noopener">{escaped}</a>'
    is_code = value.startswith("%mlmgmt ") or (len(value) == 36 and value.count("-") == 4)
    return f"<code>{escaped}</code>" if is_code else escaped


def _cards() -> Iterator[tuple[str, str, Callable[[Any], Shown | str]]]:
    resources: Mapping[str, Callable[[Any], Card]] = {
        "Model": _model,
        "Manifest": _manifest,
        "Image": _image,
        "ServiceResponse": _service,
        "Deployment": _deployment,
        "AsyncOperationStatus": _operation,
    }
    yield from ((_RESOURCES, name, card) for name, card in resources.items())
    yield "mlmgmt_nb.client.deploying.packages", "DeployedService", _Deployed
    yield *_POLLER, _poller
    yield _VALUES, "SecretText", repr
    yield _VALUES, "Text", lambda text: str(text).rstrip("\n")
    yield _VALUES, "Usage", str
    yield _VALUES, "Settings", _settings
    yield _VALUES, "Keys", _keys
    yield "mlmgmt_nb.commands.verbs.drivers", "CheckedDriver", str
    yield "mlmgmt_nb.client.scoring_tests.report", "ScoringReport", _Report


class _Report:
    """A scoring report. If a panel of the cell shows it already, only its attributes are displayed."""

    def __init__(self, report: Any) -> None:
        from mlmgmt_nb.notebook.display.shown import is_shown_here

        self._report = report
        self._is_shown = is_shown_here(report)

    def text(self) -> str:
        """Return the text for a terminal."""
        return _REPORT_USES if self._is_shown else str(self._report)

    def html(self) -> str:
        """Return the HTML for a notebook."""
        return f"<code>{_REPORT_USES}</code>" if self._is_shown else self._report.to_html()


class _Deployed:
    """A service that was proven, in three lines."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def text(self) -> str:
        """Return the text for a terminal."""
        from mlmgmt_nb.commands.output import deployed

        return deployed(self._service, "%mlmgmt")

    def html(self) -> str:
        """Return the HTML for a notebook."""
        (name, proof), (_, url), (hint, command) = self._service.lines
        lines = [
            f"<b>{html.escape(name)}</b> {html.escape(proof)}",
            _cell(url),
            f"{hint} {_cell(f'%mlmgmt {command}')}",
        ]
        return f"<div>{'<br>'.join(lines)}</div>"


def _rows(*rows: tuple[str, Any]) -> list[tuple[str, str | dt.datetime]]:
    """Return the rows that have a value, as text; times stay times."""
    return [(label, _shown(value)) for label, value in rows if value is not None and value != []]


def _shown(value: Any) -> str | dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _time(value: dt.datetime, *, age: bool) -> str:
    """Return a time as text, optionally with its age."""
    value = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    if not age:
        return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    seconds = max(0, int((dt.datetime.now(dt.UTC) - value).total_seconds()))
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    size, unit = next((pair for pair in units if seconds >= pair[0]), units[-1])
    return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC ({seconds // size} {unit} old)"


def _versioned(item: Any) -> str:
    return f"{item.name} version {item.version}" if item.version is not None else str(item.name)


def _named(item: Any) -> str | None:
    return None if item is None else f"{_versioned(item)}: {item.id}"


def _message(error: Any) -> str | None:
    return None if error is None else str(error.message)


def _model(model: Any) -> Card:
    rows = _rows(
        ("id", model.id),
        ("created", model.created_at),
        ("tags", model.tags),
        ("description", model.description),
        ("type", model.mime_type),
        ("url", model.url),
    )
    return Card("model", _versioned(model), None, rows)


def _manifest(manifest: Any) -> Card:
    rows = _rows(
        ("id", manifest.id),
        ("created", manifest.created_time),
        ("driver", manifest.driver_program),
        ("assets", [str(asset.id) for asset in manifest.assets]),
        ("models", manifest.model_ids),
        ("runtime", manifest.target_runtime.runtime_type),
        ("description", manifest.description),
    )
    return Card("manifest", _versioned(manifest), None, rows)


def _image(image: Any) -> Card:
    rows = _rows(
        ("id", image.id),
        ("created", image.created_time),
        ("manifest", _named(image.manifest)),
        ("compute", image.compute_resource_id),
        ("location", image.image_location),
        ("build log", image.image_build_log_uri),
        ("error", _message(image.error)),
        ("description", image.description),
    )
    return Card("image", _versioned(image), image.creation_state, rows)


def service_card(service: Any) -> Card:
    """Return the card of a service: its condition and, if they differ, the state of its last operation."""
    from mlmgmt_nb.client.monitoring.conditions import condition

    now = condition(service)
    rows = _rows(
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
        ("warning", getattr(service, "warning", None)),
        ("error", _message(service.error)),
    )
    return Card("service", service.name or "", now, rows)


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
    rows = _rows(
        ("id", deployment.id),
        ("image", deployment.image_id),
        ("created", deployment.created_at),
        ("expired", deployment.expired_at),
    )
    return Card("deployment of", deployment.service_name or "", deployment.status, rows)


def _operation(operation: Any) -> Card:
    rows = _rows(
        ("id", operation.id),
        ("created", operation.created_time),
        ("ended", operation.end_time),
        ("resource", operation.resource_location),
        ("warning", getattr(operation, "warning", None)),
        ("error", _message(operation.error)),
    )
    return Card("operation", (operation.operation_type or "").lower(), operation.state, rows)


def _poller(poller: Any) -> Shown:
    """Return the card of the resulting image or service; before that, of the operation as last seen."""
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
    """Return the card of the result of an operation; None if it was deleted or the server cannot be reached."""
    from mlmgmt_nb.errors import MlmgmtError

    try:
        resource = poller.result()
    except MlmgmtError:
        return None
    cards: Mapping[str, Callable[[Any], Shown]] = {
        "Image": _image,
        "ServiceResponse": _service,
        "DeployedService": _Deployed,
    }
    name = _name_among(cards, resource)
    return cards[name](resource) if name else None


def _name_among(cards: Mapping[str, Any], resource: Any) -> str:
    """Return the name of the nearest type of a resource that has a card, or "": its own, or that of a base."""
    return next((base.__name__ for base in type(resource).__mro__ if base.__name__ in cards), "")


def _keys(keys: Any) -> Card:
    return Card("keys", "", None, list(keys.masked().items()))


def _settings(settings: Any) -> str:
    from mlmgmt_nb.commands.output import formatted

    return formatted(settings, "table")
