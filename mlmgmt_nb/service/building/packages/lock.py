"""The lock of an environment: each package with its version, file URLs and hashes (`pylock.toml`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlmgmt_nb.service.building.errors import BuildError

__all__ = ["LOCK_FILE", "Lock", "packages_in"]

LOCK_FILE = "pylock.toml"

_URL = re.compile(r'\burl = "(?P<url>file://[^"]*)"')


class Lock:
    """A lock: the text of a `pylock.toml` whose paths are relative to the build context."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def resolved_in(cls, folder: Path, text: str) -> Lock:
        """Return the lock that `uv` wrote in a build context, without the path of the context."""
        prefix = f"{folder.as_uri()}/"

        def relative(found: re.Match[str]) -> str:
            url = found["url"]
            return f'path = "{unquote(url.removeprefix(prefix))}"' if url.startswith(prefix) else found[0]

        return cls(_URL.sub(relative, text))

    @property
    def is_valid(self) -> bool:
        """Return whether the text is a lock with packages; a file on disk may be damaged."""
        try:
            packages = tomllib.loads(self.text).get("packages")
        except (tomllib.TOMLDecodeError, RecursionError):
            return False
        return isinstance(packages, list) and all(isinstance(one, dict) and "name" in one for one in packages)

    @property
    def packages(self) -> list[dict[str, Any]]:
        return list(tomllib.loads(self.text).get("packages", []))

    @property
    def versions(self) -> list[str]:
        """Return the packages with their versions, for display."""
        return [_versioned(package) for package in self.packages]

    @property
    def sources(self) -> list[str]:
        """Return the packages, with their versions, that are built from source."""
        return [_versioned(package) for package in self.packages if _is_source(package)]

    def only(self, pins: Iterable[tuple[str, tuple[str, ...]]]) -> Lock:
        """Return the lock without files whose hashes are not pinned.

        Args:
            pins: the pinned hashes, by package name, path or URL.

        Raises:
            BuildError: a package has no file left.
        """
        import tomlkit

        document = tomlkit.parse(self.text).unwrap()
        for what, hashes in pins:
            for package in document.get("packages", []):
                if what in {package["name"], *_locations(package)}:
                    _keep_pinned(package, set(hashes))
        return Lock(tomlkit.dumps(document))

    def check_pinned(self, pinned: Iterable[str], exempt: set[str]) -> None:
        """Check that all packages have pinned hashes, as pip requires if any package has.

        Raises:
            BuildError: some packages do not; the message names all of them.
        """
        known = set(pinned) | exempt
        lacking = [
            _versioned(package) for package in self.packages if not known & {package["name"], *_locations(package)}
        ]
        if lacking:
            raise BuildError(
                "RequirementsFailed",
                f"The requirements cannot be installed: {', '.join(lacking)}: no --hash is given, although others "
                "have one or --require-hashes is set. Add hashes for all packages (`pip-compile --generate-hashes`).",
            )

    @property
    def digests(self) -> list[tuple[str, str, list[str]]]:
        """Return name, version and the SHA-256 digests of the files of each package."""
        found = []
        for package in self.packages:
            hashes = set().union(*map(_hashes, _files(package)))
            digests = sorted(each.removeprefix("sha256:") for each in hashes if each.startswith("sha256:"))
            found.append((package["name"], package.get("version", ""), digests))
        return found

    def pip_lines(self, *, by_url: bool) -> list[str]:
        """Return the lines of a requirements file with which pip installs exactly this lock, with `--no-deps`.

        Args:
            by_url: whether to use the URL of each file, so that pip does not query an index.
        """
        return [_pip_line(package, by_url=by_url) for package in self.packages]


def packages_in(context: Path) -> int:
    """Return the number of packages in the lock of a build context."""
    return len(Lock((context / LOCK_FILE).read_text(encoding="utf-8")).packages)


def _versioned(package: Mapping[str, Any]) -> str:
    return f"{package['name']}=={package.get('version', '?')}"


def _files(package: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the files of a package, preferred files first."""
    yield from package.get("wheels", [])
    yield from (package[kind] for kind in ("archive", "sdist") if kind in package)


def _is_source(package: Mapping[str, Any]) -> bool:
    """Return whether no file of a package is a wheel."""
    return not any(urlsplit(location).path.endswith(".whl") for location in _locations(package))


def _locations(package: Mapping[str, Any]) -> Iterator[str]:
    """Yield the locations of the files of a package."""
    return (file.get("path") or file.get("url", "") for file in _files(package))


def _keep_pinned(package: dict[str, Any], hashes: set[str]) -> None:
    kept = [file for file in _files(package) if _hashes(file) & hashes]
    if not kept:
        raise BuildError(
            "RequirementsFailed",
            f"The requirements cannot be installed: {_versioned(package)}: no file of this "
            "release for this Python and platform has a pinned sha256 hash. Check the package index and the "
            "hashes in the requirements.",
        )
    wheels = [wheel for wheel in package.pop("wheels", []) if wheel in kept]
    if package.get("sdist") not in kept:
        package.pop("sdist", None)
    if wheels:
        package["wheels"] = wheels


def _hashes(file: Mapping[str, Any]) -> set[str]:
    return {f"{name}:{digest}" for name, digest in file.get("hashes", {}).items()}


def _pip_line(package: Mapping[str, Any], *, by_url: bool) -> str:
    name = package["name"]
    if vcs := package.get("vcs"):
        folder = f"#subdirectory={vcs['subdirectory']}" if "subdirectory" in vcs else ""
        return f"{name} @ {vcs['type']}+{vcs.get('url') or vcs.get('path')}@{vcs['commit-id']}{folder}"
    first = next(_files(package))
    if "path" in first:
        return f"./{first['path'].removeprefix('./')} {_pip_hashes([first])}"
    if by_url or "archive" in package:
        return f"{name} @ {first['url']} {_pip_hashes([first])}"
    return f"{name}=={package['version']} {_pip_hashes(_files(package))}"


def _pip_hashes(files: Iterable[Mapping[str, Any]]) -> str:
    return " ".join(f"--hash={digest}" for file in files for digest in sorted(_hashes(file)))
