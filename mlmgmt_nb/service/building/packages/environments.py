"""Python environments for images with requirements: created with `uv`, cached by their resolved packages."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from mlmgmt_nb.interpreters import HERE
from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.building.packages.bytecode import compile_packages
from mlmgmt_nb.service.building.packages.explanations import explanation
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE, Lock, packages_in
from mlmgmt_nb.service.building.packages.requirements import RequirementSet, netrc, pins, runtime_closure
from mlmgmt_nb.service.building.packages.uv import UvError, run_uv
from mlmgmt_nb.service.files.logs import Log

__all__ = ["PINNED", "Environment", "Environments", "Platform", "import_failure"]

PINNED = ".pinned"
"""Suffix of files with the lock of requirements."""
_LOCK_SECONDS = 0.5
_NEEDED = {"werkzeug": {"markupsafe"}, "pyspark": {"py4j"}}
"""Dependencies of packages that are added in any version; these packages may not be installed on this machine."""
_FORMAT = "2"
"""Version of the cache; changes when environments of earlier releases must not be reused."""


class Platform(Protocol):
    """A Python to resolve requirements for: its version, and its platform as `uv` names it."""

    @property
    def version(self) -> str: ...
    @property
    def platform(self) -> str: ...


def import_failure(interpreter: str, modules: Sequence[str]) -> str | None:
    """Return the error of a Python that cannot import some modules; None if it can."""
    check = [interpreter, "-c", f"import {', '.join(modules)}"]
    try:
        done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False, cwd=Path.home())
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


class Environment:
    """An environment: its `interpreter`, and the `lock` of its packages."""

    def __init__(self, folder: Path, lock: Lock) -> None:
        self.interpreter = folder / "bin" / "python"
        self.lock = lock


class Environments:
    """The environments of a state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ensure(
        self, requested: RequirementSet, context: Path, interpreter: str, log: Log, cancellation: Cancellation
    ) -> Environment:
        """Return the environment for requirements; create it unless one with the same packages exists.

        Args:
            requested: the requirements.
            context: the build context with the files that were sent with them; the lock is written to it.
            interpreter: the Python to create the environment with.
            log: log of the build.
            cancellation: cancellation of the build.

        Raises:
            BuildError: the requirements cannot be resolved or installed (the log has the output of `uv`), or the build
                was cancelled.
        """
        lock = self._resolved(requested, context, ["--python", interpreter], log, cancellation)
        name = _digest(_FORMAT, interpreter, sys.version, lock.text)
        folder = self._folder / name
        complete = folder / "complete"
        with self._lock(name, cancellation):
            if complete.exists():
                log.line("using the environment created earlier for the same requirements")
                complete.touch()  # in use again, although no image refers to it yet
            else:
                shutil.rmtree(folder, ignore_errors=True)
                self._make(folder, requested, context, interpreter, log, cancellation)
                complete.touch()
        return Environment(folder, lock)

    def lock(
        self, requested: RequirementSet, context: Path, target: Platform, log: Log, cancellation: Cancellation
    ) -> Lock:
        """Return the lock of requirements for another Python; reproducible.

        Args:
            requested: the requirements.
            context: the build context with the files that were sent with them; the lock is written to it.
            target: the Python.
            log: log of the build.
            cancellation: cancellation of the build.

        Raises:
            BuildError: the requirements cannot be resolved, or the build was cancelled.
        """
        python = ["--python", sys.executable, "--python-version", target.version, "--python-platform", target.platform]
        return self._resolved(requested, context, python, log, cancellation)

    def _resolved(
        self, requested: RequirementSet, context: Path, python: Sequence[str], log: Log, cancellation: Cancellation
    ) -> Lock:
        """Resolve requirements to a lock. Reuse an earlier lock if all sources are immutable."""
        if not requested.is_immutable:
            lock = _resolve(requested, context, python, log, cancellation)
        else:
            name = _digest(_FORMAT, *python, sys.version, *_identity(requested, context))
            kept = self._folder / f"{name}{PINNED}"
            with self._lock(name, cancellation):
                known = _earlier_lock(kept, log)
                lock = known or _resolve(requested, context, python, log, cancellation)
                if known is None:
                    partial = kept.with_name(f"{kept.name}.partial")
                    partial.write_text(lock.text, encoding="utf-8")
                    partial.replace(kept)
        (context / LOCK_FILE).write_text(lock.text, encoding="utf-8")
        return lock

    def install(
        self,
        target: Path,
        requested: RequirementSet,
        context: Path,
        python: Platform,
        log: Log,
        cancellation: Cancellation,
    ) -> None:
        """Install the locked packages of a build context for another Python, into a folder for its modules.

        Raises:
            BuildError: they cannot be installed, or the build was cancelled.
        """
        version = ["--python", sys.executable, "--python-version", python.version]
        try:
            with _variables(requested) as variables:
                options = [
                    *requested.arguments,
                    *version,
                    "--python-platform",
                    python.platform,
                    "--target",
                    str(target),
                ]
                install = ["pip", "sync", *options, LOCK_FILE]
                run_uv(install, context, variables, log, cancellation, packages=packages_in(context))
        except UvError as error:
            raise _failed(error, requested, python.version) from error

    def sweep(self) -> None:
        """Remove incomplete environments that no process is building."""
        for path in self._folder.iterdir():
            if path.is_dir() and not (path / "complete").exists():
                with suppress(Timeout), FileLock(self._lock_of(path.name.partition(".")[0]), timeout=0, mode=0o600):
                    # It may have been completed in the meantime.
                    if not (path / "complete").exists():
                        shutil.rmtree(path, ignore_errors=True)

    def _make(
        self,
        folder: Path,
        requested: RequirementSet,
        context: Path,
        interpreter: str,
        log: Log,
        cancellation: Cancellation,
    ) -> None:
        try:
            run_uv(["venv", "--quiet", "--python", interpreter, str(folder)], context, {}, log, cancellation)
            python = ["--python", str(folder / "bin" / "python")]
            install = ["pip", "sync", *requested.arguments, *python, LOCK_FILE]
            with _variables(requested) as variables:
                run_uv(install, context, variables, log, cancellation, packages=packages_in(context))
            compile_packages(folder, cancellation)
        except UvError as error:
            raise _failed(error, requested, HERE) from error

    @contextmanager
    def _lock(self, name: str, cancellation: Cancellation) -> Iterator[None]:
        """Prevent other threads and processes from creating or removing this environment at the same time."""
        lock = FileLock(self._lock_of(name), mode=0o600)
        while True:
            cancellation.check()
            with suppress(Timeout):
                lock.acquire(timeout=_LOCK_SECONDS)
                break
        try:
            yield
        finally:
            lock.release()

    def _lock_of(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


def _earlier_lock(path: Path, log: Log) -> Lock | None:
    """Return the lock of an earlier build; None if its file does not exist or is damaged."""
    try:
        lock = Lock(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        lock = Lock("")
    if not lock.is_valid:
        log.line(f"the versions resolved earlier cannot be read: {path.name} is damaged; resolving them again")
        return None
    log.line("using the versions resolved earlier for the same requirements")
    path.touch()  # in use again, although no image refers to it yet
    return lock


def _resolve(
    requested: RequirementSet, context: Path, python: Sequence[str], log: Log, cancellation: Cancellation
) -> Lock:
    """Run `uv` to find versions, files and hashes; keep the versions and hashes that the user pinned."""
    requirements_file, limits, found = (
        context / name for name in ("requirements.in", "constraints.in", "pylock.found.toml")
    )
    requirements_file.write_text("\n".join(requested.lines) + "\n", encoding="utf-8")
    limits.write_text("\n".join(requirement.spec for requirement in requested.constraints) + "\n", encoding="utf-8")
    options = ["--quiet", "--no-header", "--format", "pylock.toml", "--generate-hashes", *requested.arguments]
    files = ["--constraint", limits.name, "-o", found.name, requirements_file.name]
    try:
        with _variables(requested) as variables:
            run_uv(["pip", "compile", *options, *python, *files], context, variables, log, cancellation)
        lock = Lock.resolved_in(context, found.read_text(encoding="utf-8"))
    except UvError as error:
        version = python[python.index("--python-version") + 1] if "--python-version" in python else HERE
        raise _failed(error, requested, version) from error
    finally:
        for path in (requirements_file, limits, found):
            path.unlink(missing_ok=True)
    pinned = dict(pins(requested))
    if pinned or requested.has("--require-hashes"):
        lock = lock.only(pinned.items())
        lock.check_pinned(pinned, _exempt(requested))
    for line in lock.versions:
        log.line(line)
    return lock


@contextmanager
def _variables(requested: RequirementSet) -> Iterator[dict[str, str]]:
    """Yield the environment variables with indexes and logins for `uv`."""
    if not requested.file_logins:
        yield requested.variables
        return
    known = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    with tempfile.NamedTemporaryFile("w", prefix="mlmgmt-", suffix=".netrc") as file:  # readable by its owner only
        file.write(netrc(requested.file_logins) + (known.read_text(encoding="utf-8") if known.is_file() else ""))
        file.flush()
        yield requested.variables | {"NETRC": file.name}


def _exempt(requested: RequirementSet) -> set[str]:
    """Return the packages of the runtime, which users cannot pin, with the packages that these need."""
    added = {re.split(r"[^\w.-]", line)[0] for line in requested.added}
    return runtime_closure() | added.union(*(_NEEDED.get(name, ()) for name in added))


def _failed(error: UvError, requested: RequirementSet, version: str) -> BuildError:
    lines = [requirement.spec for requirement in requested.requirements]
    reason = explanation(error.output, lines, f"Python {version} on this platform", runtime_closure())
    return BuildError("RequirementsFailed", f"The requirements cannot be installed: {reason}.")


def _identity(requested: RequirementSet, context: Path) -> Iterator[str]:
    """Yield everything that the lock of requirements depends on."""
    yield from (str(requirement) for requirement in requested.requirements)
    yield from requested.added
    yield from (f"-c {requirement}" for requirement in requested.constraints)
    yield from (f"{option.name} {option.value}" for option in requested.options)
    for path in sorted((context / "packages").rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                yield f"{path.relative_to(context)} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
