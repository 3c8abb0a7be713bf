"""Run an application folder in isolation: a fresh process loads it, answers the sample, and reports its imports.

As in an environment with only the requirements, the process sees only the distributions that the code and the model of
the folder name, with their dependencies. Missing modules are added and the run is repeated, which yields the
requirements.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.distributions import InstalledDistributions, named
from mlmgmt_nb.packaging.local_modules import LocalModules
from mlmgmt_nb.scoring.distribution import RUNTIME_PACKAGES

__all__ = ["IsolatedRun", "missing_package", "run_isolated"]

_SECONDS = 300.0
_ATTEMPTS = 20
_SCRIPT = Path(__file__).with_name("probe.py")
_NOT_OF_USERS = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parents[1]))
_OF_NOTEBOOK = frozenset({"PYTHONPATH", "KERAS_BACKEND"})


@dataclass(frozen=True)
class IsolatedRun:
    """The result of a successful run.

    Attributes:
        answer: the answer as plain JSON values; None without a request.
        modules: the file of each imported module outside of the folder, by module name.
        warnings: warnings from loading the folder.
        seconds: duration of the process.
    """

    answer: Any
    modules: Mapping[str, str | None]
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


def run_isolated(folder: Path, body: bytes, names: Iterable[str], local_modules: LocalModules) -> IsolatedRun:
    """Load the folder in a fresh process, and answer a request.

    Missing modules that lie beside the notebook are added to the folder.

    Args:
        folder: the application folder.
        body: the body of a request; empty to only load the folder.
        names: modules that the driver or the model names.
        local_modules: adds local modules to the folder.

    Raises:
        UsageError: the folder does not load, or the driver refuses the sample.
    """
    return _Attempts(folder, body, local_modules, local_modules.installed.owners(dict.fromkeys(names))).run()


@dataclass
class _Attempts:
    folder: Path
    body: bytes
    local_modules: LocalModules
    visible: set[str]
    hides: bool = True
    missed: set[str] = field(default_factory=set)

    @property
    def _installed(self) -> InstalledDistributions:
        return self.local_modules.installed

    def run(self) -> IsolatedRun:
        for _ in range(_ATTEMPTS):
            started = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="mlmgmt-trial-") as work:
                outcome = self._run_in(Path(work))
                error = outcome.get("error")
                if error is None:
                    own = f"{work}{os.sep}"
                    files = {name: file for name, file in outcome["modules"].items() if not file.startswith(own)}
                    warnings = tuple(outcome["warnings"])
                    return IsolatedRun(outcome.get("answer"), files, warnings, time.perf_counter() - started)
            self._add_missing(error)
        raise UsageError("model: its code imports too many modules", field="model", fix="Put them into a package.")

    def _add_missing(self, error: Mapping[str, Any]) -> None:
        """Add the missing modules, or stop hiding modules if there are none to add.

        Raises:
            UsageError: there was nothing to add, and no modules were hidden.
        """
        missing = {name.partition(".")[0] for name in error["missing"]} - self.missed
        self.missed |= missing
        owners = self._installed.owners(dict.fromkeys(missing)) - self.visible
        copied = [name for name in missing if self.local_modules.copy_imported([name])]
        self.visible |= owners
        if owners or copied:
            return
        if self.hides:  # some code looks for packages in unusual ways
            self.hides = False
            return
        raise _failure(error)

    def _hidden(self) -> list[str]:
        if not self.hides:
            return []
        seen = self._installed.closure([*self.visible, *RUNTIME_PACKAGES])
        return sorted(self._installed.roots() - self._installed.roots_of(seen) - {"mlmgmt_nb"})

    def _run_in(self, work: Path) -> dict[str, Any]:
        """Run the probe on a copy of the folder, because the process may write to it."""
        app, body, order, result = (work / name for name in ("app", "body", "order.json", "result.json"))
        shutil.copytree(self.folder, app, copy_function=_link)
        body.write_bytes(self.body)
        order.write_text(json.dumps({"folder": str(app), "body": str(body), "hidden": self._hidden()}))
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(_SCRIPT), str(order), str(result)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                cwd=work,
                env=_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"model: it did not load and respond within {_SECONDS:g} s", field="model", fix="Give a smaller sample."
            ) from error
        if not result.exists():
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            return {"error": {"message": f"the process ended before it answered: {reason}", "missing": [], "trace": ""}}
        outcome: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return outcome


def _link(source: str, target: str) -> None:
    """Create a hard link to a file, or a copy if the disk does not support links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _environment() -> dict[str, str]:
    """Return the environment of a service, without the paths and settings of the notebook."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_NOTEBOOK}
    return {**inherited, "PYTHONPATH": str(Path(__file__).parents[2])}


def missing_package(module: str, reason: str) -> UsageError:
    """Return the error for a module that is not installed."""
    return UsageError(
        f"model: the package {module!r} is missing: {reason}",
        field="model",
        fix=f"Install it in this kernel (`%pip install {named(module.partition('.')[0])}`), then package again.",
    )


def _failure(error: Mapping[str, Any]) -> UsageError:
    message = str(error["message"])
    if error["missing"]:
        return missing_package(str(error["missing"][0]), message)
    if found := re.search(r"Can't get attribute '(\w+)' on <module '__main__'", message):
        name = found[1]
        return UsageError(
            f"model: the pickle refers to {name!r} of a notebook or script, but does not contain it: {message}",
            field="model",
            fix=f"Give the object instead of the file, or put {name} into a module, and give it as a dependency.",
        )
    return UsageError(
        f"model: it works in the notebook, but not in a fresh process: {message}",
        field="model",
        fix=_missing_file(message) or _innermost(str(error["trace"])),
    )


def _missing_file(message: str) -> str | None:
    """Return the fix for a missing file that lies in the folder of the notebook, or None."""
    found = re.search(r"No such file or directory: '([^']+)'", message)
    if found is None or os.path.isabs(found[1]) or not os.path.exists(found[1]):
        return None
    top = Path(found[1]).parts[0]
    return f"Send it along: `dependencies=[{top!r}]`, or `-d {shlex.quote(top)}` in commands."


def _innermost(trace: str) -> str | None:
    """Return the innermost location of a traceback in the user's code, as a sentence; None without a traceback."""
    places = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    places = [place for place in places if not any(folder in place for folder in _NOT_OF_USERS)] or places
    return f"It was raised at {places[-1]}." if places else None
