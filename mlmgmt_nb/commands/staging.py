"""The application folder and the Python of an image, created on this machine to check a driver in isolation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlmgmt_nb.client.models import default_name
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.scoring.distribution import copy_runtime, pinned_packages

__all__ = ["Stage"]

_BIG = 64 * 2**20
_LINES = 10


class Stage:
    """An application folder with the layout of an image.

    Args:
        folder: an empty folder.
        driver: the driver.
        dependencies, models: files and folders beside the driver at run time.
        schema: its schema file, or None.
    """

    def __init__(
        self, folder: Path, driver: Path, *, dependencies: Sequence[Path], models: Sequence[Path], schema: Path | None
    ) -> None:
        self._folder = folder
        self.app = folder / "app"
        self.app.mkdir()
        for field, path in (
            ("driver", driver),
            *(("schema", path) for path in [schema] if path is not None),
            *(("dependency", path) for path in dependencies),
            *(("model_file", path) for path in models),
        ):
            _put(path, self.app, field)
        self._write("mlmgmt-app.json", {"driver": driver.name, "schema": schema.name if schema else None})
        self._write("model_config_map.json", {"accountContext": {}, "models": dict(map(self._lay_out, models))})
        copy_runtime(folder / "runtime")  # without other packages, which the driver must not import

    def python(self, requirements: str | os.PathLike[str] | Sequence[str] | None) -> str:
        """Return the Python that runs the driver: the current one, or a new environment with only the requirements.

        Args:
            requirements: a pip requirements file, or its lines; None for the current Python.

        Raises:
            UsageError: they cannot be installed.
        """
        if requirements is None:
            return sys.executable
        if isinstance(requirements, (str, os.PathLike)):
            file = Path(requirements).expanduser()
        else:
            file = self._folder / "requirements.txt"
            file.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        environment = self._folder / "environment"
        interpreter = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        _uv("venv", "--python", sys.executable, str(environment))
        _uv("pip", "install", "--python", str(interpreter), "-r", str(file.absolute()), *pinned_packages())
        return str(interpreter)

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables of the driver process, without variables of mlmgmt-nb, as in a replica."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLMGMT_")}
        path = [str(self._folder / "runtime"), *filter(None, [inherited.get("PYTHONPATH")])]
        return inherited | {"PYTHONPATH": os.pathsep.join(path)}

    def _lay_out(self, model: Path) -> tuple[str, object]:
        """Link a model to the path that azureml-core drivers expect. Return its name and its entry in the model map."""
        name = default_name(str(model))
        folder = self.app / "azureml-models" / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / _name_of(model)
        link.symlink_to(os.path.relpath(self.app / link.name, folder))
        path = str(link.relative_to(self.app))
        return name, {"id": None, "version": None, "path": path, "versions": {"1": path}}

    def _write(self, name: str, content: object) -> None:
        path = self.app / name
        if path.exists():
            raise UsageError(
                f"{name}: this name is reserved for the image", field="dependency", fix="Rename your file."
            )
        path.write_text(json.dumps(content), encoding="utf-8")


def _put(source: Path, app: Path, field: str) -> None:
    """Copy a file or folder. A link would let the driver find files beside its original location."""
    target = app / _name_of(source)
    if target.exists():
        raise UsageError(
            f"{field}: {target.name!r} is given twice, but all files share one folder when the driver runs",
            field=field,
            fix="Rename one of them, or put it into a folder of its own.",
        )
    if source.is_dir():
        skipped = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(source, target, ignore=skipped, copy_function=_copy)
    else:
        _copy(source, target)


def _name_of(source: Path) -> str:
    return source.resolve().name if source.name in {"", ".", ".."} else source.name


def _copy(source: str | Path, target: str | Path) -> str:
    if os.path.getsize(source) >= _BIG:
        try:
            os.link(os.path.realpath(source), target)  # a hard link is faster than a copy
        except OSError:
            pass  # on another disk
        else:
            return str(target)
    return str(shutil.copy2(source, target))


def _uv(*arguments: str) -> None:
    import uv  # needed only for drivers with requirements

    command = [uv.find_uv_bin(), *arguments, "--no-progress", "--color", "never", "--no-config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UsageError(
            "\n".join(["requirements: cannot be installed", *lines[-_LINES:]]),
            field="requirements",
            fix="Correct the requirements.",
        )
