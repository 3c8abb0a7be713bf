"""The packages that a build must install: requirements, constraints and options from requirements files."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from mlmgmt_nb.contract.requirements import (
    PACKAGES,
    Option,
    Requirement,
    RequirementsError,
    is_local,
    is_repository,
    local_path,
    parse,
    project_name,
)
from mlmgmt_nb.redaction import redacted
from mlmgmt_nb.scoring.distribution import RUNTIME_PACKAGES
from mlmgmt_nb.service.building.errors import BuildError

__all__ = [
    "RequirementSet",
    "RequirementsReader",
    "netrc",
    "pins",
    "runtime_closure",
    "without_login",
]

_SENT = re.compile(rf"(?:\./)?{PACKAGES.pattern}/(?!\.\.?$)[^/]+")
_MOST_OPEN = 20
"""Limit for nested includes of files: without it, a server could name further files endlessly."""
_INDEXES = ("--index-url", "--extra-index-url")


def runtime_closure() -> set[str]:
    """Return the normalized names of the scoring runtime's requirements and their dependencies."""
    found: set[str] = set()
    left = [*RUNTIME_PACKAGES]
    while left:
        name = project_name(left.pop())
        if name not in found:
            found.add(name)
            left += _needs(name)
    return found


def _needs(name: str) -> list[str]:
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]


class RequirementSet(msgspec.Struct, kw_only=True):
    """The packages to install.

    Attributes:
        requirements: requirements of the user.
        added: requirements of the runtime, as lines.
        constraints: constraints on versions.
        options: index URLs and other options, in order.
        file_logins: user and password by host, removed from the URLs of the requirements.
    """

    requirements: list[Requirement] = msgspec.field(default_factory=list)
    added: list[str] = msgspec.field(default_factory=list)
    constraints: list[Requirement] = msgspec.field(default_factory=list)
    options: list[Option] = msgspec.field(default_factory=list)
    file_logins: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)

    def values(self, *names: str) -> list[str]:
        """Return the values of options."""
        return [option.value for option in self.options if option.name in names]

    def has(self, name: str) -> bool:
        return any(option.name == name for option in self.options)

    def extend(self, other: RequirementSet) -> None:
        """Add the content of another file."""
        self.requirements += other.requirements
        self.constraints += other.constraints
        self.options += other.options
        self.file_logins |= other.file_logins

    @property
    def lines(self) -> list[str]:
        """Return the requirements without hashes, in the syntax of `uv` and `pip`."""
        return [*(requirement.spec for requirement in self.requirements), *self.added]

    @property
    def has_own_indexes(self) -> bool:
        """Return whether packages may come from sources other than the default index."""
        return any(option.name in (*_INDEXES, "--find-links", "--no-index") for option in self.options)

    @property
    def has_several_indexes(self) -> bool:
        """Return whether packages may come from more than one index."""
        return self.has("--extra-index-url") and not self.has("--no-index")

    @property
    def is_immutable(self) -> bool:
        """Return whether the same text always means the same content: no branches, no files on other servers."""
        sources = [requirement.location for requirement in self.requirements] + self.values("--find-links")
        return all(not source or is_local(source) for source in sources)

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables with the indexes for `uv`; they may contain passwords."""
        found = {}
        if index := self.values("--index-url"):
            found["UV_DEFAULT_INDEX"] = index[-1]
        if extra := self.values("--extra-index-url"):
            found["UV_INDEX"] = " ".join(dict.fromkeys(extra))
        if links := self.values("--find-links"):
            found["UV_FIND_LINKS"] = ",".join(filter(None, [os.environ.get("UV_FIND_LINKS"), *links]))
        if hosts := self.values("--trusted-host"):
            found["UV_INSECURE_HOST"] = " ".join(hosts)
        if self.has("--pre"):
            found["UV_PRERELEASE"] = "allow"
        return found

    @property
    def arguments(self) -> list[str]:
        """Return the options of `uv` other than the indexes."""
        found = ["--no-index"] if self.has("--no-index") else []
        for option in self.options:
            if option.name in {"--no-binary", "--only-binary"}:
                found += [part for name in option.value.split(",") for part in (option.name, name)]
        return found

    @property
    def logins(self) -> dict[str, tuple[str, str]]:
        """Return the user and password of each host that has a login in an option or requirement."""
        return dict(self._logins())

    @property
    def hosts_with_several_logins(self) -> list[str]:
        """Return the hosts for which options and requirements have different logins."""
        counts = Counter(host for host, _ in set(self._logins()))
        return sorted(host for host, count in counts.items() if count > 1)

    def _logins(self) -> Iterator[tuple[str, tuple[str, str]]]:
        yield from self.file_logins.items()
        for value in self.values(*_INDEXES, "--find-links"):
            yield from _login(value).items()


def _login(url: str) -> dict[str, tuple[str, str]]:
    """Return the user and password in a URL, by its host."""
    parts = urlsplit(url)
    if not parts.hostname or not parts.username:
        return {}
    return {parts.hostname: (unquote(parts.username), unquote(parts.password or ""))}


def without_login(url: str) -> str:
    """Return a URL without user and password; URLs of repositories are returned unchanged."""
    if "@" not in url or is_repository(url):
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def netrc(logins: Mapping[str, tuple[str, str]]) -> str:
    """Return the logins in the format of a netrc file."""
    return "".join(
        f"machine {host} login {_quoted(user)} password {_quoted(word)}\n" for host, (user, word) in logins.items()
    )


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class RequirementsReader:
    """Read the requirements files of a build.

    Args:
        folder: the build context with the files that were sent with the requirements.
        fetch: downloads a URL to a file; the second argument describes it.
    """

    def __init__(self, folder: Path, fetch: Callable[[str, str], Path]) -> None:
        self._folder = folder
        self._fetch = fetch
        self._problems: list[str] = []
        self._open: list[str] = []

    def read(self, lines: Iterable[str], origin: str) -> RequirementSet:
        """Read the lines of a requirements file.

        Args:
            lines: its lines.
            origin: its name in messages.

        Raises:
            BuildError: some lines cannot be installed; the message lists all problems.
        """
        requested = RequirementSet()
        self._read("\n".join(lines), origin, requested, is_constraint=False)
        if self._problems:
            raise BuildError("BadRequirements", redacted(f"{'; '.join(self._problems)}."))
        return requested

    def _read(self, text: str, origin: str, requested: RequirementSet, *, is_constraint: bool, base: str = "") -> None:
        try:
            for entry in parse(text):
                where = f"{origin}, line {entry.number}"
                if isinstance(entry, Option):
                    self._add_option(entry, where, requested, is_constraint=is_constraint, base=base)
                elif self._can_be_read(entry.location, where):
                    requested.file_logins |= self._login(entry.location, where)
                    plain = entry._replace(location=without_login(entry.location))
                    (requested.constraints if is_constraint else requested.requirements).append(plain)
        except RequirementsError as error:
            self._problems.append(f"{origin}, {error}")

    def _add_option(
        self, option: Option, where: str, requested: RequirementSet, *, is_constraint: bool, base: str
    ) -> None:
        if option.name in {"--requirement", "--constraint"}:
            self._include(
                option, where, requested, is_constraint=is_constraint or option.name == "--constraint", base=base
            )
        elif option.name != "--find-links" or self._can_be_read(option.value, where):
            requested.options.append(option)

    def _include(
        self, option: Option, where: str, requested: RequirementSet, *, is_constraint: bool, base: str
    ) -> None:
        url = urljoin(base, option.value) if base else option.value
        if url in self._open:
            self._problems.append(f"{where}: {option.value} includes itself")
        elif len(self._open) == _MOST_OPEN:
            self._problems.append(f"{where}: more than {_MOST_OPEN} files include each other")
        elif (text := self._text(url, where)) is not None:
            name, inner_base = (Path(url).name, "") if is_local(url) else (url, url)
            self._open.append(url)
            self._read(text, name, requested, is_constraint=is_constraint, base=inner_base)
            self._open.pop()

    def _text(self, url: str, where: str) -> str | None:
        """Return the text of a file that another file includes; None if it was not sent."""
        if not is_local(url):
            path = self._fetch(url, "included requirements")
            text = path.read_text(encoding="utf-8", errors="replace")
            path.unlink()
            return text
        if not self._can_be_read(url, where, is_file=True):
            return None
        return (self._folder / local_path(url)).read_text(encoding="utf-8", errors="replace")

    def _login(self, location: str, where: str) -> dict[str, tuple[str, str]]:
        """Return the login for the host of a file; repositories of sources must not have a login."""
        login = _login(location)
        if not is_repository(location) or all(user == "git" and not word for user, word in login.values()):
            return {} if is_repository(location) else login
        self._problems.append(
            f"{where}: a user or token in the URL of a repository would stay in the image. "
            "Name a wheel or a folder instead; these are sent along"
        )
        return {}

    def _can_be_read(self, location: str, where: str, *, is_file: bool = False) -> bool:
        """Return whether a location is remote, or a file (or folder, unless `is_file`) that was sent along."""
        if not is_local(location):
            return True
        path = self._folder / location
        if _SENT.fullmatch(location) and (path.is_file() if is_file else path.exists()):
            return True
        self._problems.append(
            f"{where}: {location!r} is a path, and the file was not sent. Create the manifest with "
            "`mlmgmt manifest create` or `ws.manifests.create`, which send local files, or use a URL"
        )
        return False


def pins(requested: RequirementSet) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the pinned hashes by name or location of their package; hashes of constraints last."""
    for requirement in [*requested.requirements, *requested.constraints]:
        if requirement.hashes:
            yield requirement.name or requirement.location.removeprefix("./"), requirement.hashes
