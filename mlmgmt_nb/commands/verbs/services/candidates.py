"""Commands that try changes to services before they take effect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client.deploying.flow import BuiltImage
from mlmgmt_nb.commands.flags import (
    APPLICATION,
    MODEL_ID,
    NEW_VERSION,
    PACKAGING,
    REASON,
    SERVICE,
    SETTINGS,
    VARIABLES,
    DeployArguments,
    ReasonArguments,
    ServiceArguments,
    SettingsArguments,
    WaitingArguments,
)
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.commands.verbs.deploy import flow, resumable, source_of
from mlmgmt_nb.commands.verbs.services.cases import errors_in, file_to_write
from mlmgmt_nb.commands.verbs.services.changing import registers, settings_of
from mlmgmt_nb.commands.verbs.services.replaying import GATE, HTML, JUNIT, TOLERANCE, checked_gate, shown_report
from mlmgmt_nb.errors import UsageError

__all__ = ["COMMANDS"]

_EXAMPLES = {
    "share": "5",
    "minutes": "10",
    "max_errors": "0.01",
    "max_p95": "2",
    "min_agree": "0.95",
    "keep_warm": "10",
}
"""Valid values of flags that take a number, for errors."""
_LIMITS = ("max_errors", "max_p95", "min_agree")
"""Conditions of a canary. `none` turns one off."""


@dataclass(frozen=True, kw_only=True)
class _Propose(DeployArguments, SettingsArguments, WaitingArguments, ReasonArguments):
    """Arguments of `service propose`."""

    service: str
    image_id: str | None


@dataclass(frozen=True, kw_only=True)
class _Promote(ServiceArguments, WaitingArguments, ReasonArguments):
    """Arguments of `service promote`."""

    evidence: str | None
    keep_warm: str | None


@dataclass(frozen=True, kw_only=True)
class _Canary(ServiceArguments):
    """Arguments of `service canary`."""

    share: str | None
    minutes: str | None
    header: str | None
    max_errors: str | None
    max_p95: str | None
    min_agree: str | None
    tolerance: float
    stop: bool


def _canary(session: Session, arguments: _Canary) -> object:
    ignored = _given(arguments, ("minutes", "header", *_LIMITS))
    if arguments.share is None and ignored:
        name = next(iter(ignored)).replace("_", "-")
        raise UsageError(f"--{name} needs --share", field=name, fix="Give the share of a canary, such as `--share 5`.")
    if arguments.stop and arguments.share is not None:
        raise UsageError("--stop cannot be combined with --share", field="stop", fix="Give one of them.")
    change = session.workspace.services.change(arguments.service)
    if arguments.stop:
        return change.stop_canary()
    if arguments.share is None:
        return change
    given = {name: _limit(name, text) for name, text in _given(arguments, _LIMITS).items()}
    shares = [_number("share", part) for part in arguments.share.split(",")]
    minutes = _number("minutes", arguments.minutes or "0")
    return change.canary(shares, minutes=minutes, header=arguments.header, tolerance=arguments.tolerance, **given)


@dataclass(frozen=True, kw_only=True)
class _Mirror(ServiceArguments):
    """Arguments of `service mirror`."""

    minutes: float | None
    share: float | None
    requests: int | None
    stop: bool
    tolerance: float
    gate: Any
    junit: str | None
    html: str | None


def _mirror(session: Session, arguments: _Mirror) -> object:
    started = _given(arguments, ("minutes", "share", "requests"))
    wanted = list(_given(arguments, ("gate", "junit", "html")))
    if wanted and (arguments.stop or started):
        raise UsageError(
            f"--{wanted[0]} cannot be combined with --stop or the flags that start a mirror",
            field=wanted[0],
            fix="Give it alone, once requests have been mirrored.",
        )
    gate, junit = checked_gate(arguments.gate), file_to_write(arguments.junit, "junit")
    with errors_in(junit, f"mirror {arguments.service}", gate):
        return _mirrored(session, arguments, started, has_report=bool(wanted))


def _mirrored(session: Session, arguments: _Mirror, started: dict[str, Any], *, has_report: bool) -> object:
    """Stop or start the mirror, or show its report.

    Args:
        started: the arguments that start a mirror.
        has_report: whether a gate or a file of the report is given.
    """
    change = session.workspace.services.change(arguments.service)
    if arguments.stop:
        return change.stop_mirror()
    if started:
        return change.mirror(**started)
    if change.candidate.mirror is None and not has_report:
        return change
    return shown_report(session, change.mirror_report(tolerance=arguments.tolerance), arguments)


def _given(arguments: _Canary | _Mirror, names: Iterable[str]) -> dict[str, Any]:
    """Return the arguments with these names that are not None."""
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _limit(name: str, text: str) -> float | None:
    """Return the value of a condition of a canary; None turns it off."""
    return None if text.lower() == "none" else _number(name, text)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        flag = f"--{name.replace('_', '-')}"
        also = ", or `none` for any" if name in _LIMITS else ""
        fix = f"Use a number, such as `{flag} {_EXAMPLES[name]}`{also}."
        raise UsageError(f"{flag}: {text!r} is not a number", field=name, fix=fix) from None


def _propose(session: Session, arguments: _Propose) -> object:
    is_built_here = registers(arguments)
    settings: Any = {**settings_of(arguments), "reason": arguments.reason}
    service = session.workspace.services.get(arguments.service)
    compute = service.compute_resource.id if service.compute_resource else "local"
    with resumable(session) as started:
        changing = flow(session, service.name or "", compute=compute, timeout=arguments.timeout, started=started)
        changing.check_change(settings)
        if is_built_here and arguments.image_id is not None:
            raise UsageError("--image-id and --driver cannot be combined", field="image_id", fix="Give one of them.")
        built = changing.build(source_of(session, arguments)) if is_built_here else BuiltImage(arguments.image_id)
        return changing.propose(built, settings, service)


def _candidate(session: Session, arguments: ServiceArguments) -> object:
    return session.workspace.services.change(arguments.service)


def _promote(session: Session, arguments: _Promote) -> object:
    services = session.workspace.services
    minutes = None if arguments.keep_warm is None else _number("keep_warm", arguments.keep_warm)
    return services.promote(arguments.service, reason=arguments.reason, evidence=arguments.evidence, keep_warm=minutes)


def _discard(session: Session, arguments: ServiceArguments) -> object:
    is_gone = session.workspace.services.discard(arguments.service)
    return Text(
        f"the candidate of {arguments.service} is discarded" if is_gone else f"{arguments.service} had no candidate"
    )


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("service", "propose"),
        "Run a changed service beside the current one, to try, promote or discard it",
        "mlmgmt service propose -n iris -m model.pkl -f score.py",
        _propose,
        (
            SERVICE,
            Flag("--image-id", "image to run", completes="image"),
            *(flag for flag in APPLICATION if flag.dest != "model_id"),  # `-i` is the service in this command
            *PACKAGING,
            NEW_VERSION,
            MODEL_ID,
            *SETTINGS,
            *VARIABLES,
            REASON,
        ),
        waits=True,
        arguments=_Propose,
    ),
    Command(
        ("service", "candidate"),
        "Show the candidate of a service; a notebook shows it in a panel, to try, promote or discard it",
        "mlmgmt service candidate -n iris",
        _candidate,
        (SERVICE,),
        arguments=ServiceArguments,
    ),
    Command(
        ("service", "promote"),
        "Make the proposed change of a service: its candidate serves from now on",
        'mlmgmt service promote -n iris --reason "better for new customers"',
        _promote,
        (
            SERVICE,
            REASON,
            Flag(
                "--evidence",
                "evidence for the record of the change, such as the path of a report",
                metavar="TEXT",
            ),
            Flag("--keep-warm", "minutes to keep the earlier replicas, for a rollback at once", metavar="MINUTES"),
        ),
        waits=True,
        arguments=_Promote,
    ),
    Command(
        ("service", "canary"),
        "Let the candidate of a service answer a share of its requests, or show its state",
        "mlmgmt service canary -n iris --share 5,25,100 --minutes 10",
        _canary,
        (
            SERVICE,
            Flag(
                "--share", "percentage of the requests; those of several steps, separated by commas", metavar="PERCENT"
            ),
            Flag("--minutes", "minutes of each step, at least (default: 0)"),
            Flag("--header", "header by whose value requests are assigned (default: each by itself)"),
            Flag(
                "--max-errors",
                "maximum share of errors above that of the current deployment, or none for any (default: 0.01)",
            ),
            Flag("--max-p95", "maximum p95 latency, as a multiple of the current one, or none for any (default: 2)"),
            Flag("--min-agree", "minimum share of equal answers of both deployments, or none for any (default: none)"),
            TOLERANCE,
            Flag("--stop", "stop the canary", "switch"),
        ),
        arguments=_Canary,
    ),
    Command(
        ("service", "mirror"),
        "Let the candidate of a service also answer copies of its requests, or compare the answers so far",
        "mlmgmt service mirror -n iris --minutes 10",
        _mirror,
        (
            SERVICE,
            Flag("--minutes", "start the mirror, and end it after this many minutes (default: 10)", "number"),
            Flag(
                "--share",
                "start the mirror with this percentage of the requests (default: 100)",
                "number",
                metavar="PERCENT",
            ),
            Flag(
                "--requests",
                "start the mirror, and end it after this many copies (default: 10000)",
                "integer",
                metavar="N",
            ),
            Flag("--stop", "stop the mirror", "switch"),
            TOLERANCE,
            GATE,
            JUNIT,
            HTML,
        ),
        arguments=_Mirror,
    ),
    Command(
        ("service", "discard"),
        "Remove the candidate of a service",
        "mlmgmt service discard -n iris",
        _discard,
        (SERVICE,),
        arguments=ServiceArguments,
    ),
)
