"""The requirements of a package: imported distributions and their dependencies, pinned to this kernel's versions."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.distributions import InstalledDistributions, origin_of, path_of

__all__ = ["requirements_text"]

_WHEELS = "wheels"


def requirements_text(
    installed: InstalledDistributions,
    modules: Mapping[str, str | None],
    folder: Path,
    given: Sequence[str] | None = None,
) -> str:
    """Return the text of a requirements file.

    Args:
        installed: the distributions of this kernel.
        modules: the file of each imported module, by name.
        folder: the application folder, to which wheels of local projects are added.
        given: requirement lines of the model, which replace the lines for imported modules.

    Raises:
        UsageError: a local project cannot be built.
    """
    if given is not None:
        return "\n".join(["# given with the model", *given, ""])
    direct = installed.owners(modules)
    needed = installed.closure(direct) - direct
    lines = ["# imported while it loads and scores", *(_requirement(name, folder) for name in sorted(direct))]
    if needed:
        lines += ["", "# required by these", *(_requirement(name, folder) for name in sorted(needed))]
    return "\n".join([*lines, ""])


def _requirement(name: str, folder: Path) -> str:
    """Return the requirement for exactly the installed distribution. A local project is built as a wheel."""
    installed = distribution(name)
    origin = origin_of(installed)
    url = str(origin.get("url", ""))
    if "dir_info" in origin:
        return f"./{_built(Path(path_of(url)), folder)}"
    if vcs := origin.get("vcs_info"):
        return f"{name} @ {vcs['vcs']}+{url}@{vcs['commit_id']}"
    if url.startswith("file:") and url.endswith(".whl") and Path(path_of(url)).is_file():
        return f"./{_copied(Path(path_of(url)), folder)}"
    if url and not url.startswith("file:"):
        return f"{name} @ {url}"
    # Indexes rarely have builds with a local label such as `+cpu`. The version without the label also matches them.
    return f"{name}=={installed.version.partition('+')[0]}"


def _built(project: Path, folder: Path) -> str:
    """Build the wheel of a project. Return its path in the application folder."""
    import uv

    target = folder / _WHEELS
    before = set(target.glob("*.whl"))
    command = [uv.find_uv_bin(), "build", "--wheel", "--out-dir", str(target), "--color", "never", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    made = sorted(set(target.glob("*.whl")) - before)
    if done.returncode != 0 or not made:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(
            f"requirements: the project {project} cannot be built as a wheel: {reason}",
            field="requirements",
            fix="Correct the project, or install a release of it.",
        )
    (target / ".gitignore").unlink(missing_ok=True)  # uv writes it
    return made[-1].relative_to(folder).as_posix()


def _copied(wheel: Path, folder: Path) -> str:
    (folder / _WHEELS).mkdir(exist_ok=True)
    shutil.copy2(wheel, folder / _WHEELS)
    return f"{_WHEELS}/{wheel.name}"
