"""Explain in one sentence, from the output of `uv`, why packages cannot be installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from mlmgmt_nb.contract.requirements import project_name

__all__ = ["explanation"]

_LONGEST = 300
_CAUSE = re.compile(r"^\s*(?:╰─▶|├─▶|cause:)\s*", re.MULTILINE)
_BUILT = re.compile(r"Failed to (?:build|download and build|prepare) `(?P<what>[^`]+)`|\bbuild (?:backend|failed)\b")
_REPOSITORY = re.compile(
    r"`(?P<what>[^`]+)`\s+(?:╰─▶|├─▶|cause:)\s*Git operation failed.*?(?:fatal: (?P<why>[^\n]+)|\Z)", re.DOTALL
)
_UNPARSED = re.compile(
    r"Couldn't parse requirement[^\n]*\s+(?:╰─▶|├─▶|cause:)\s*(?P<why>[^\n]+)\n\s*(?P<line>[^\n]+?)\s*\n\s*\^"
)
_REASON = re.compile(r"\b(?:\w+(?:Error|Exception)|fatal error): [^\n]+")
_VERSION = r"[^\s,]+"
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"(?P<name>[\w.-]+) was not found in the (?:package registry|provided package locations)"),
        lambda found: f"{found['name']}: no package index has a package with this name",
    ),
    (
        re.compile(r"(?:there is|there are) no versions? of (?P<what>[^\s]+)"),
        lambda found: f"{found['what']}: this release does not exist",
    ),
    (
        re.compile(
            r"requested Python version \([^)]*\) does not satisfy "
            rf"(?P<python>Python{_VERSION}) and (?P<what>{_VERSION})"
        ),
        lambda found: f"{found['what']}: needs {found['python']}, and no release supports the current Python",
    ),
    (
        re.compile(rf"(?P<what>{_VERSION}) has no (?:wheels|usable wheels|source distribution)[^,]*"),
        lambda found: f"{found['what']}: no wheel supports this Python version and platform",
    ),
    (
        re.compile(
            rf"(?P<by>{_VERSION}) depends? on (?P<name>[\w.-]+)(?P<range>[<>=!~]\S*?),? "
            rf".*you require (?P<what>(?P=name){_VERSION})"
        ),
        lambda found: f"{found['what']}: conflicts with {found['by']}, which needs {found['name']}{found['range']}",
    ),
    (
        re.compile(r"Because you require (?P<first>[^\s,]+) and (?:you require )?(?P<second>[^\s,]+), we can conclude"),
        lambda found: f"{found['first']}: conflicts with {found['second']}",
    ),
    (
        re.compile(r"Hash mismatch for `(?P<what>[^`]+)`"),
        lambda found: f"{found['what']}: the hash of the file does not match the pinned hash",
    ),
    (
        re.compile(r"(?:Failed to fetch|error sending request for url)[:\s(]+`?(?P<what>[^\s`)]+)"),
        lambda found: f"{found['what']} cannot be reached",
    ),
)
"""Patterns of uv's messages, most specific first, and the sentences for them."""


def explanation(output: str, requirements: Sequence[str], platform: str, runtime: Collection[str] = frozenset()) -> str:
    """Return a sentence that explains why `uv` failed.

    Args:
        output: the output of `uv`.
        requirements: the requirements as the user wrote them.
        platform: the target Python and platform, in words.
        runtime: the packages that the scoring runtime needs, which the user did not request.
    """
    causes = " ".join(_CAUSE.sub("", output[_start_of_error(output) :]).partition("\nhint:")[0].split())
    built = _BUILT.search(output)
    sentence = _unread(output) or (_unbuilt(built, output, platform) if built else _matched(causes))
    sentence = (
        sentence
        or _shortened(causes.removeprefix("error: ").removeprefix("No solution found when resolving dependencies "))
        or "uv failed"
    )
    if "authentication credentials" in output or re.search(r"\b40[13] (?:Unauthorized|Forbidden)", output):
        sentence += " (a package index rejected the credentials, or requires them)"
    if "invalid peer certificate" in output:
        sentence += " (its TLS certificate is not trusted)"
    return _as_written(sentence, requirements) + _origin(sentence, requirements, runtime)


def _origin(sentence: str, requirements: Iterable[str], runtime: Collection[str]) -> str:
    """Return the origin of the package in a sentence, if the user did not request it."""
    name = re.match(r"[\w.-]*", sentence)
    if name is None or name[0] not in set(runtime).difference(map(project_name, _names(requirements))):
        return ""
    return " (the scoring runtime needs it: use an index or folder that has it, or --extra-index-url for your own)"


def _start_of_error(output: str) -> int:
    found = re.search(r"^(?:error:|\s*\u00d7)", output, re.MULTILINE)
    return found.start() if found else 0


def _unread(output: str) -> str:
    """Return the sentence for a line that is not a requirement, or for a repository; empty for other causes."""
    if found := _UNPARSED.search(output):
        return f"{_shortened(found['line'])}: is not a requirement ({found['why']})"
    if found := _REPOSITORY.search(output):
        why = f" ({_shortened(found['why'])})" if found["why"] else ""
        return f"{found['what'].partition(' @ ')[0]}: its repository cannot be read{why}"
    return ""


def _matched(causes: str) -> str:
    matches = ((pattern.search(causes), sentence) for pattern, sentence in _RULES)
    return next((sentence(found) for found, sentence in matches if found), "")


def _unbuilt(built: re.Match[str], output: str, platform: str) -> str:
    what = (built["what"] or "a package").partition(" @ ")[0]
    reasons = [reason for reason in _REASON.findall(output) if "/" not in reason and "setup.py" not in reason]
    why = f" ({_shortened(reasons[-1])})" if reasons else ""
    return f"{what}: its source cannot be built here{why}, and no wheel supports {platform}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _as_written(sentence: str, requirements: Iterable[str]) -> str:
    """Return the sentence with the names of projects as the user wrote them."""
    for name in set(_names(requirements)):
        normalized = project_name(name)
        if normalized != name:
            sentence = re.sub(rf"(?<![\w.-]){re.escape(normalized)}(?![\w-])", name, sentence)
    return sentence


def _names(requirements: Iterable[str]) -> Iterator[str]:
    for line in requirements:
        if found := re.match(r"[\w.-]*\w", line):
            yield found[0]
