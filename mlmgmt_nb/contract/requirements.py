"""pip requirements files as data: options, requirements, and the local files that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = [
    "PACKAGES",
    "Option",
    "Requirement",
    "RequirementsError",
    "is_local",
    "is_repository",
    "local_path",
    "parse",
    "project_name",
]

PACKAGES = re.compile(r"packages/\d+")
"""Ids of manifest assets from which its requirements are installed. `./ID/FILE` is the path of such a file."""

_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
_WITH_VALUE = frozenset(_SHORT.values()) | {"--extra-index-url", "--trusted-host", "--no-binary", "--only-binary"}
_FLAGS = frozenset({"--no-index", "--pre", "--require-hashes"})
_REASONS = {"--prefer-binary": "packages are resolved by uv, which has no such option: use --only-binary PACKAGE"}
"""Reasons why options are not supported, if they are not obvious."""
_COMMENT = re.compile(r"(^|\s+)#.*$")
_CONTINUED = re.compile(r"\\\r?\n")
_OPTIONS_OF_ONE = re.compile(r"\s+(?=--?[a-z])")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_NAMED = re.compile(rf"(?P<head>{_NAME}\s*(?:\[[^\]]*\])?\s*@\s*)(?P<location>\S+)(?P<tail>.*)", re.DOTALL)
_ONLY_NAME = re.compile(_NAME)
_PATH = re.compile(r"(?:\.{1,2}(?:/|$)|/|~|file:|[\w./ -]*/|\S+\.(?:whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz)\b)")
_BARE = re.compile(r"(?P<location>\S+?)(?P<tail>(?:\[[^\]]*\])?(?:\s*;.*)?)")
_ONE_EQUALS = re.compile(r"(?<![=<>!~])=(?![=<>])")
"""The version separator of conda, which is an error in pip."""
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_SURROGATES = re.compile("[\ud800-\udfff]")
"""Lone surrogates, which UTF-8 cannot encode."""
_VCS = re.compile(r"(?:git|hg|svn|bzr)\+")


class RequirementsError(ValueError):
    """A line is neither a requirement nor an option that can be installed here."""


class Option(NamedTuple):
    """An option for the whole file, with its long name."""

    number: int
    name: str
    value: str = ""


class Requirement(NamedTuple):
    """A requirement.

    Attributes:
        number: its line number.
        head: the text before the location; the whole text if the location is missing.
        location: the path or URL to install from, if any.
        tail: the text after the location.
        hashes: the pinned digests, such as `sha256:...`.
    """

    number: int
    head: str
    location: str = ""
    tail: str = ""
    hashes: tuple[str, ...] = ()

    @property
    def spec(self) -> str:
        """The requirement without its hashes."""
        return f"{self.head}{self.location}{self.tail}"

    @property
    def name(self) -> str:
        """The normalized name of the project; "" if there is only a location."""
        found = _ONLY_NAME.match(self.head)
        return project_name(found[0]) if found else ""

    def __str__(self) -> str:
        return " ".join([self.spec, *(f"--hash={digest}" for digest in self.hashes)])


def project_name(name: str) -> str:
    """Return the normalized name of a project: `Ruamel.YAML` is `ruamel-yaml`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_local(location: str) -> bool:
    """Return whether a location is a path or a `file:` URL."""
    return bool(location) and not _VCS.match(location) and urlsplit(location).scheme in {"", "file"}


def is_repository(location: str) -> bool:
    """Return whether a location is a source repository, such as a Git repository."""
    return bool(_VCS.match(location))


def local_path(location: str) -> str:
    """Return the path of a local location."""
    parts = urlsplit(location)
    return unquote(parts.path) if parts.scheme == "file" else location.partition("#")[0]


def parse(text: str) -> Iterator[Option | Requirement]:
    """Parse the lines of a requirements file.

    Raises:
        RequirementsError: a line cannot be parsed; the message begins with its line number.
    """
    number = 1
    for line in _CONTINUED.sub("\0", text.removeprefix("\ufeff")).splitlines():
        content = _COMMENT.sub("", line.replace("\0", " ")).strip()
        if _SURROGATES.search(content):
            raise RequirementsError(f"line {number}: {content!r} is not text")
        if content:
            yield from _options(number, content) if content.startswith("-") else [_requirement(number, content)]
        number += 1 + line.count("\0")


def _options(number: int, line: str) -> Iterator[Option | Requirement]:
    words = _words(number, line)
    while words:
        name, value = _split(words.pop(0))
        if name in _WITH_VALUE:
            if not value and not words:
                raise RequirementsError(f"line {number}: {name} needs a value")
            value = value or words.pop(0)
        elif name not in _FLAGS or value:
            reason = f" ({_REASONS[name]})" if name in _REASONS else ""
            raise RequirementsError(f"line {number}: the option {name} is not supported{reason}")
        if name == "--editable":
            yield _located(number, value)
        else:
            yield Option(number, name, _checked(number, value))


def _words(number: int, line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise RequirementsError(f"line {number}: {error}") from error


def _split(word: str) -> tuple[str, str]:
    """Return the long name and the value of an option such as `-rFILE` or `--requirement=FILE`."""
    if not word.startswith("--"):
        return _SHORT.get(word[:2], word), word[2:].lstrip("=")
    name, _, value = word.partition("=")
    return name, value


def _requirement(number: int, line: str) -> Requirement:
    spec, *options = _OPTIONS_OF_ONE.split(line)
    hashes = tuple(_hashes(number, " ".join(options)))
    found = _NAMED.fullmatch(spec)
    if found:
        return Requirement(number, found["head"], _checked(number, found["location"]), found["tail"], hashes)
    if _VCS.match(spec) or "://" in spec or _PATH.match(spec):
        return _located(number, spec)._replace(hashes=hashes)
    if not _is_requirement(spec):
        hint = f"; write {_ONE_EQUALS.sub('==', spec)}" if _ONE_EQUALS.search(spec) else ""
        raise RequirementsError(f"line {number}: {spec!r} is not a requirement{hint}")
    return Requirement(number, spec, hashes=hashes)


def _is_requirement(spec: str) -> bool:
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        Parsed(_VARIABLE.sub("1", spec))
    except InvalidRequirement:
        return False
    return True


def _located(number: int, text: str) -> Requirement:
    """Return a requirement that consists only of a path or URL."""
    found = _BARE.fullmatch(text)
    if not found:
        raise RequirementsError(f"line {number}: {text!r} is not a path or URL of a package")
    return Requirement(number, "", _checked(number, found["location"]), found["tail"])


def _checked(number: int, location: str) -> str:
    """Check that a location can be parsed as a URL, and return it unchanged."""
    try:
        urlsplit(location)
    except ValueError as error:
        raise RequirementsError(f"line {number}: {location!r} is not a URL: {error}") from error
    return location


def _hashes(number: int, options: str) -> Iterator[str]:
    words = _words(number, options)
    while words:
        name, value = _split(words.pop(0))
        if name != "--hash":
            raise RequirementsError(f"line {number}: the option {name} of a requirement is not supported")
        digest = value or (words.pop(0) if words else "")
        if not re.fullmatch(r"(sha256|sha384|sha512):[0-9a-fA-F]+", digest):
            raise RequirementsError(f"line {number}: {digest!r} is not a hash of the form sha256:DIGEST")
        yield digest.lower()
