"""Python environments for images whose manifest asks for packages: made with `uv`, cached by what was asked for."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import yaml
from filelock import FileLock, Timeout

from mlmgmt_nb.service.building.cancellation import Cancellation
from mlmgmt_nb.service.building.errors import BuildError
from mlmgmt_nb.service.logs import Log

__all__ = [
    "PINNED",
    "Environment",
    "Environments",
    "Platform",
    "asks_for_conda",
    "lacks",
    "pip_requirements",
    "requirement_lines",
    "runtime_requirements",
    "with_spark",
]

PINNED = ".pinned"
"""Ends the names of files with the versions that requirements came to, for images that are built elsewhere."""
_TIMEOUT_SECONDS = 1800.0
_LOCK_SECONDS = 0.5
_WHY = re.compile(r"╰─▶ |cause: ", re.IGNORECASE)
"""What uv's reason begins with, in its releases."""
_HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


class Platform(Protocol):
    """A Python that requirements are resolved for: its version, and its platform in the words of `uv`."""

    @property
    def version(self) -> str: ...
    @property
    def platform(self) -> str: ...


def runtime_requirements() -> list[str]:
    """What the scoring runtime itself needs, in the versions that it was tested with here.

    Drivers of raw HTTP need werkzeug too, in any version, as theirs often name one.
    """
    names = ["uvicorn", "httptools", "msgspec"] + ([] if sys.platform == "win32" else ["uvloop"])
    return [*(f"{name}=={importlib.metadata.version(name)}" for name in names), "werkzeug"]


def requirement_lines(requirements_file: Path) -> list[str]:
    """The lines of a requirements file.

    Raises:
        BuildError: when it is no text.
    """
    try:
        return requirements_file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BuildError("BadRequirements", f"pipRequirements: not UTF-8 text: {error.reason}.") from error


def with_spark(lines: Sequence[str], is_installed: Callable[[], bool]) -> list[str]:
    """The requirements of a driver of the `SparkPython` runtime: pyspark is part of that runtime.

    Args:
        lines: what its manifest asks for.
        is_installed: whether the interpreter that would run it without requirements has pyspark.
    """
    asked = any(re.match(r"pyspark(?![\w.-])", line.strip(), re.IGNORECASE) for line in lines)
    return list(lines) if asked or (not lines and is_installed()) else [*lines, "pyspark"]


def lacks(interpreter: str, modules: Sequence[str]) -> str | None:
    """Why a Python cannot import some modules; None when it can."""
    check = [interpreter, "-c", f"import {', '.join(modules)}"]
    try:
        done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False, cwd=Path.home())
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def _conda_entries(conda_file: Path) -> tuple[list[str], list[str]]:
    """What a conda environment file asks conda for, and what it asks pip for.

    Raises:
        BuildError: it is no such file.
    """
    try:
        content = yaml.safe_load(conda_file.read_text())
        entries = content.get("dependencies") or []
        pip = [str(line) for entry in entries if isinstance(entry, dict) for line in entry.get("pip") or []]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise BuildError("BadCondaFile", f"condaEnvFile: not a conda environment file: {error}") from error
    return [entry for entry in entries if isinstance(entry, str)], pip


def _foreign(conda: Sequence[str]) -> list[str]:
    """The packages of conda's own."""
    return [entry for entry in conda if re.split(r"[=<>!~ ]", entry)[0].strip() not in {"python", "pip"}]


def asks_for_conda(conda_file: Path, python: str) -> bool:
    """Whether a conda environment file asks for more than pip can serve on a Python of this version.

    Raises:
        BuildError: it is no such file.
    """
    conda, _ = _conda_entries(conda_file)
    return bool(_foreign(conda)) or not all(_is_python(entry, python) for entry in conda)


def pip_requirements(conda_file: Path, python: str = _HERE) -> list[str]:
    """The requirements that pip can serve, of a conda environment file.

    Raises:
        BuildError: when the file is no such file, or asks for packages of conda's own or another Python.
    """
    conda, pip = _conda_entries(conda_file)
    if foreign := _foreign(conda):
        raise BuildError(
            "CondaPackages",
            f"condaEnvFile: local compute installs with pip only, and cannot install {', '.join(foreign)} from conda; "
            "list the packages under 'pip:' or in a requirements file, or use compute `docker`.",
        )
    for entry in conda:
        if not _is_python(entry, python):
            raise BuildError(
                "PythonVersion", f"condaEnvFile: asks for {entry!r}; local compute has Python {python} only."
            )
    return pip


def _is_python(entry: str, python: str) -> bool:
    """Whether an entry of a conda environment file does not ask for another Python than this version."""
    name, _, version = entry.replace("==", "=").partition("=")
    wanted = version.strip().removesuffix(".*")
    return name.strip() != "python" or not wanted or f"{wanted}.".startswith(f"{python}.") or wanted == python[0]


class Environment:
    """An environment: its `interpreter`, and `lock`, the exact versions that are in it."""

    def __init__(self, folder: Path) -> None:
        self.interpreter = folder / "bin" / "python"
        self.lock = folder / "requirements.lock"


class Environments:
    """The environments of a state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ensure(self, requirements: Path, log: Log, cancellation: Cancellation) -> Environment:
        """The environment for a requirements file; made now unless there is one for the same requirements.

        Raises:
            BuildError: when the requirements cannot be resolved or installed; the log has what `uv` said. Also when the
                build is cancelled.
        """
        wanted = "\n".join([sys.version, *runtime_requirements(), requirements.read_text()])
        name = hashlib.sha256(wanted.encode()).hexdigest()[:32]
        folder = self._folder / name
        complete = folder / "complete"
        with self._lock(name, cancellation):
            if complete.exists():
                log.line("using the environment that was made for the same requirements before")
                complete.touch()  # it is in use again, though no image says so yet
            else:
                shutil.rmtree(folder, ignore_errors=True)
                self._make(folder, requirements, log, cancellation)
                complete.touch()
        return Environment(folder)

    def lock(self, lines: Sequence[str], target: Platform, log: Log, cancellation: Cancellation) -> str:
        """The exact versions of all packages that requirements come to on a Python elsewhere; the same each time.

        Raises:
            BuildError: when they cannot be resolved, or the build is cancelled.
        """
        wanted = "\n".join([target.version, target.platform, *lines])
        name = hashlib.sha256(wanted.encode()).hexdigest()[:32]
        kept = self._folder / f"{name}{PINNED}"
        with self._lock(name, cancellation):
            if kept.exists():
                log.line("using the versions that the same requirements came to before")
                kept.touch()  # as above
            else:
                with tempfile.TemporaryDirectory(dir=self._folder, prefix=f"{name}.") as folder:
                    asked, found = Path(folder, "requirements.in"), Path(folder, "requirements.lock")
                    asked.write_text("\n".join(lines) + "\n")
                    python = ["--python", sys.executable, "--python-version", target.version]
                    options = ["--no-header", "--no-annotate", "--python-platform", target.platform]
                    _uv(["pip", "compile", *options, *python, "-o", str(found), str(asked)], log, cancellation)
                    found.replace(kept)
        return kept.read_text()

    def sweep(self) -> None:
        """Removes what is half made, but for what somebody is at work on."""
        for path in self._folder.iterdir():
            if path.is_dir() and not (path / "complete").exists():
                with suppress(Timeout), FileLock(self._lock_of(path.name.partition(".")[0]), timeout=0, mode=0o600):
                    # It may have been made meanwhile.
                    if not (path / "complete").exists():
                        shutil.rmtree(path, ignore_errors=True)

    def _make(self, folder: Path, requirements: Path, log: Log, cancellation: Cancellation) -> None:
        environment = Environment(folder)
        _uv(["venv", "--python", sys.executable, str(folder)], log, cancellation)
        runtime = folder / "runtime.txt"
        runtime.write_text("\n".join(runtime_requirements()))
        inputs = [str(requirements), str(runtime)]
        python = ["--python", str(environment.interpreter)]
        compiled = ["--no-header", "--no-annotate", *python, "-o", str(environment.lock), *inputs]
        _uv(["pip", "compile", *compiled], log, cancellation)
        _uv(["pip", "sync", "--compile-bytecode", *python, str(environment.lock)], log, cancellation)

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


def _uv(arguments: Sequence[str], log: Log, cancellation: Cancellation) -> None:
    """Runs `uv`, its output going to the log line by line."""
    import uv

    command = [uv.find_uv_bin(), *arguments, "--no-progress", "--color", "never", "--no-config"]
    log.line(f"$ uv {' '.join(arguments)}")
    why, last = "", ""
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **cancellation.environment},
        ) as process,
        cancellation.ending(process),
    ):
        timer = threading.Timer(_TIMEOUT_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                log.append(line)
                text = line.decode(errors="replace").strip()
                if begins := _WHY.match(text):
                    why = text[begins.end() :]
                elif why:  # which uv wraps
                    why = f"{why} {text}".strip()
                last = text or last
        finally:
            timer.cancel()
    if process.returncode != 0:
        raise BuildError("RequirementsFailed", f"The requirements cannot be installed: {why or last or 'uv failed'}")
