"""Python environments for images whose manifest asks for packages: made with `uv`, cached by what they resolve to."""

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
from mlmgmt_nb.service.building.packages.explanations import explanation
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE, Lock
from mlmgmt_nb.service.building.packages.requirements import Wanted, netrc, pins, runtime_closure
from mlmgmt_nb.service.building.packages.uv import UvError, run_uv
from mlmgmt_nb.service.files.logs import Log

__all__ = ["PINNED", "Environment", "Environments", "Platform", "lacks"]

PINNED = ".pinned"
"""Ends the names of files with the lock that requirements came to."""
_LOCK_SECONDS = 0.5
_FORMAT = "2"
"""Changes when environments of earlier releases must not be used any more."""


class Platform(Protocol):
    """A Python that requirements are resolved for: its version, and its platform in the words of `uv`."""

    @property
    def version(self) -> str: ...
    @property
    def platform(self) -> str: ...


def lacks(interpreter: str, modules: Sequence[str]) -> str | None:
    """Why a Python cannot import some modules; None when it can."""
    check = [interpreter, "-c", f"import {', '.join(modules)}"]
    try:
        done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False, cwd=Path.home())
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


class Environment:
    """An environment: its `interpreter`, and the `lock` of the packages that are in it."""

    def __init__(self, folder: Path, lock: Lock) -> None:
        self.interpreter = folder / "bin" / "python"
        self.lock = lock


class Environments:
    """The environments of a state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ensure(
        self, wanted: Wanted, context: Path, interpreter: str, log: Log, cancellation: Cancellation
    ) -> Environment:
        """Return the environment for requirements; made now unless there is one with the same packages.

        Args:
            wanted: the requirements.
            context: the build context, which has the files that were sent with them; gets the lock.
            interpreter: the Python that the environment is made with.
            log: of the build.
            cancellation: of the build.

        Raises:
            BuildError: when the requirements cannot be resolved or installed; the log has what `uv` said. Also when the
                build is cancelled.
        """
        lock = self._resolved(wanted, context, ["--python", interpreter], log, cancellation)
        name = _digest(_FORMAT, interpreter, sys.version, lock.text)
        folder = self._folder / name
        complete = folder / "complete"
        with self._lock(name, cancellation):
            if complete.exists():
                log.line("using the environment that was made for the same requirements before")
                complete.touch()  # it is in use again, though no image says so yet
            else:
                shutil.rmtree(folder, ignore_errors=True)
                self._make(folder, wanted, context, interpreter, log, cancellation)
                complete.touch()
        return Environment(folder, lock)

    def lock(self, wanted: Wanted, context: Path, target: Platform, log: Log, cancellation: Cancellation) -> Lock:
        """Return the lock of requirements on a Python elsewhere; the same each time.

        Args:
            wanted: the requirements.
            context: the build context, which has the files that were sent with them; gets the lock.
            target: the Python.
            log: of the build.
            cancellation: of the build.

        Raises:
            BuildError: when they cannot be resolved, or the build is cancelled.
        """
        python = ["--python", sys.executable, "--python-version", target.version, "--python-platform", target.platform]
        return self._resolved(wanted, context, python, log, cancellation)

    def _resolved(
        self, wanted: Wanted, context: Path, python: Sequence[str], log: Log, cancellation: Cancellation
    ) -> Lock:
        """Return the lock that requirements come to: the one of before, if they have only sources that do not change."""
        if not wanted.is_lasting:
            lock = _resolve(wanted, context, python, log, cancellation)
        else:
            name = _digest(_FORMAT, *python, sys.version, *_identity(wanted, context))
            kept = self._folder / f"{name}{PINNED}"
            with self._lock(name, cancellation):
                if kept.exists():
                    log.line("using the versions that the same requirements came to before")
                    kept.touch()  # as above
                else:
                    text = _resolve(wanted, context, python, log, cancellation).text
                    partial = kept.with_name(f"{kept.name}.partial")
                    partial.write_text(text, encoding="utf-8")
                    partial.replace(kept)
            lock = Lock(kept.read_text(encoding="utf-8"))
        (context / LOCK_FILE).write_text(lock.text, encoding="utf-8")
        return lock

    def sweep(self) -> None:
        """Remove what is half made, but for what somebody is at work on."""
        for path in self._folder.iterdir():
            if path.is_dir() and not (path / "complete").exists():
                with suppress(Timeout), FileLock(self._lock_of(path.name.partition(".")[0]), timeout=0, mode=0o600):
                    # It may have been made meanwhile.
                    if not (path / "complete").exists():
                        shutil.rmtree(path, ignore_errors=True)

    def _make(
        self, folder: Path, wanted: Wanted, context: Path, interpreter: str, log: Log, cancellation: Cancellation
    ) -> None:
        try:
            run_uv(["venv", "--quiet", "--python", interpreter, str(folder)], context, {}, log, cancellation)
            python = ["--python", str(folder / "bin" / "python")]
            install = ["pip", "sync", "--compile-bytecode", *wanted.arguments, *python, LOCK_FILE]
            with _variables(wanted) as variables:
                run_uv(install, context, variables, log, cancellation)
        except UvError as error:
            raise _failed(error, wanted, HERE) from error

    @contextmanager
    def _lock(self, name: str, cancellation: Cancellation) -> Iterator[None]:
        """Nobody else makes, or removes, this environment meanwhile; neither do other processes."""
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


def _resolve(wanted: Wanted, context: Path, python: Sequence[str], log: Log, cancellation: Cancellation) -> Lock:
    """Have `uv` find versions, files and hashes; hold what the user pinned."""
    asked, limits, found = (context / name for name in ("requirements.in", "constraints.in", "pylock.found.toml"))
    asked.write_text("\n".join(wanted.lines) + "\n", encoding="utf-8")
    limits.write_text("\n".join(requirement.spec for requirement in wanted.constraints) + "\n", encoding="utf-8")
    options = ["--quiet", "--no-header", "--format", "pylock.toml", "--generate-hashes", *wanted.arguments]
    files = ["--constraint", limits.name, "-o", found.name, asked.name]
    try:
        with _variables(wanted) as variables:
            run_uv(["pip", "compile", *options, *python, *files], context, variables, log, cancellation)
        lock = Lock.resolved_in(context, found.read_text(encoding="utf-8"))
    except UvError as error:
        version = python[python.index("--python-version") + 1] if "--python-version" in python else HERE
        raise _failed(error, wanted, version) from error
    finally:
        for path in (asked, limits, found):
            path.unlink(missing_ok=True)
    pinned = dict(pins(wanted))
    if pinned or wanted.has("--require-hashes"):
        lock = lock.only(pinned.items())
        lock.check_pinned(pinned, _exempt(wanted))
    for line in lock.versions:
        log.line(line)
    return lock


@contextmanager
def _variables(wanted: Wanted) -> Iterator[dict[str, str]]:
    """Yield the environment variables by which `uv` knows indexes and logins."""
    if not wanted.file_logins:
        yield wanted.variables
        return
    known = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    with tempfile.NamedTemporaryFile("w", prefix="mlmgmt-", suffix=".netrc") as file:  # only its owner can read it
        file.write(netrc(wanted.file_logins) + (known.read_text(encoding="utf-8") if known.is_file() else ""))
        file.flush()
        yield wanted.variables | {"NETRC": file.name}


def _exempt(wanted: Wanted) -> set[str]:
    """Return the packages that are installed for us, which no user can pin."""
    return runtime_closure() | {re.split(r"[^\w.-]", line)[0] for line in wanted.added}


def _failed(error: UvError, wanted: Wanted, version: str) -> BuildError:
    lines = [requirement.spec for requirement in wanted.requirements]
    reason = explanation(error.output, lines, f"Python {version} on this platform")
    return BuildError("RequirementsFailed", f"The requirements cannot be installed: {reason}.")


def _identity(wanted: Wanted, context: Path) -> Iterator[str]:
    """All that the lock of requirements depends on."""
    yield from (str(requirement) for requirement in wanted.requirements)
    yield from wanted.added
    yield from (f"-c {requirement}" for requirement in wanted.constraints)
    yield from (f"{option.name} {option.value}" for option in wanted.options)
    for path in sorted((context / "packages").rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                yield f"{path.relative_to(context)} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
