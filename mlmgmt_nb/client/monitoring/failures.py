"""The lines of a log that explain a failure: the driver's traceback, or the last output of a build or driver."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["driver_traceback", "explanation", "last_rollout", "last_traceback"]

_ROLLOUT_ENDS = ("[mlmgmt] deployed", "[mlmgmt] the deployment failed", "[mlmgmt] the deployment was cancelled")
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_FRAME = re.compile(r'  File "([^"]*)", line ')
_APPLICATION = re.compile(r'(  File ")[^"]*/app/')
_OURS = re.compile(r"^<frozen |/mlmgmt_nb/scoring/")
_MARKS = re.compile(r"\s*[~^]+\s*")
_STEP = re.compile(r"\[\d+/\d+\] |\$ ")
_NOT_OUTPUT = ("[mlmgmt] ", '{"time":', "the build failed: ")


def last_rollout(lines: Sequence[str]) -> list[str]:
    """Return the log lines of the last rollout: the log of a service begins with its first rollout."""
    ends = [place for place, line in enumerate(lines[:-1]) if line.startswith(_ROLLOUT_ENDS)]
    return list(lines[ends[-1] + 1 :] if ends else lines)


def last_traceback(lines: Sequence[str]) -> list[str]:
    """Return the last traceback with its causes; no lines if there is none."""
    starts = [place for place, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not starts:
        return []
    end = next((at for at in range(starts[-1], len(lines)) if lines[at].startswith(_NOT_OUTPUT)), len(lines))
    first = starts.pop()
    # Chained exceptions are separated by a blank line, a sentence, and a blank line.
    while starts and any(line.startswith(_CHAINED) for line in lines[max(0, first - 3) : first]):
        first = starts.pop()
    return list(lines[first:end])


def driver_traceback(lines: Sequence[str]) -> list[str]:
    """Return the last traceback without frames of the runtime, and with the driver's files as the user names them."""
    own, is_ours = list[str](), False
    for line in last_traceback(lines):
        if frame := _FRAME.match(line):
            is_ours = _OURS.search(frame[1]) is not None
        elif not line.startswith("    "):
            is_ours = False
        if not is_ours:
            own.append(_APPLICATION.sub(r"\1", line))
    return own


def explanation(lines: Sequence[str], reason: str, most: int) -> list[str]:
    """Return the lines of a log that explain a failure.

    Args:
        lines: the log of the build, or of the last rollout of the service.
        reason: the reason, which is not repeated.
        most: maximum number of lines; the last ones are the nearest to the failure.
    """
    found = driver_traceback(lines)
    wanted = [line for line in (found[1:] or _last_output(lines)) if not _MARKS.fullmatch(line)]
    wanted = [line for line in wanted if line.strip() and line.rpartition("Error: ")[2] not in reason]
    if len(wanted) <= most:
        return wanted
    return [f"... {len(wanted) - most + 1} lines before", *wanted[len(wanted) - most + 1 :]] if most > 0 else []


def _last_output(lines: Sequence[str]) -> list[str]:
    """Return the output of the last step of a build, or of the driver."""
    steps = [place for place, line in enumerate(lines) if _STEP.match(line)]
    after = lines[steps[-1] + 1 :] if steps else lines
    return [line for line in after if not line.startswith(_NOT_OUTPUT)]
