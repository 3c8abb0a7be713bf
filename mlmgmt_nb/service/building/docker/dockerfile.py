"""The Dockerfile of an image, in two parts: the requirements, which many images share, and the application.

No instruction needs a shell, so any base image with Python works.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

import msgspec

from mlmgmt_nb.contract import Manifest, Model

__all__ = [
    *("BUILD_FOLDER", "COMMAND", "HEALTH_CHECK", "PACKAGES", "SCORING_PORT", "Recipe"),
    *("application", "labels", "requirements"),
]

SCORING_PORT = 5001
BUILD_FOLDER = "/mlmgmt/build"
COMMAND = ("python3", "-m", "mlmgmt_nb.scoring", "--app", "/app")
PACKAGES = "packages"
"""Folder of the files that the requirements name, in the context and in the build."""
MICROMAMBA = "mambaorg/micromamba:2"
_COMPILE = ("python3", "-B", f"{BUILD_FOLDER}/install.py", "--compile")
HEALTH_CHECK = (
    "python3",
    "-c",
    f"import urllib.request as u; u.urlopen('http://127.0.0.1:{SCORING_PORT}/', timeout=2)",
)


def default_base() -> str:
    """Return a base image with the Python version of the service."""
    return f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of an image, besides its files.

    Attributes:
        base: the base image.
        conda: whether conda packages are requested, in `environment.yml`.
        java: whether the driver needs a Java runtime.
        locked: whether the requirements are exact, so that pip resolves nothing.
        labels: see `labels`.
    """

    base: str = msgspec.field(default_factory=default_base)
    conda: bool = False
    java: bool = False
    locked: bool = True
    labels: Mapping[str, str] = {}

    @property
    def install(self) -> list[str]:
        """Return the command that installs the requirements."""
        options = [*(["--java"] if self.java else []), *(["--locked"] if self.locked else [])]
        return ["python3", "-B", f"{BUILD_FOLDER}/install.py", *options]

    @property
    def inputs(self) -> list[str]:
        """Return the files of the context that the installation needs."""
        return ["build/install.py", "requirements.txt", *(["environment.yml"] if self.conda else [])]


def labels(account: str, manifest: Manifest, models: Sequence[Model]) -> dict[str, str]:
    """Return the labels of an image, without its own name and version: the same inputs produce the same image."""
    return {
        "mlmgmt.account": account,
        "mlmgmt.manifest": manifest.id or "",
        "mlmgmt.models": ",".join(f"{model.name}:{model.version}={model.id}" for model in models),
    }


def requirements(recipe: Recipe) -> str:
    """Return the part that installs packages. Its layers are the same as long as the requirements are."""
    files = f"COPY {' '.join(recipe.inputs)} {BUILD_FOLDER}/\nCOPY {PACKAGES} {BUILD_FOLDER}/{PACKAGES}/\n"
    return f"{with_conda(recipe)}{files}RUN {_words(recipe.install)}\n"


def with_conda(recipe: Recipe) -> str:
    """Return the instructions for the base image, with the installer for conda packages if there are any."""
    tool = f"COPY --from={MICROMAMBA} /bin/micromamba /usr/local/bin/micromamba\n" if recipe.conda else ""
    return f"FROM {recipe.base}\nUSER root\n{tool}"


def application(recipe: Recipe, runtime: str = "runtime /mlmgmt/runtime", app: str = "app /app") -> str:
    """Return the part with the runtime and the application.

    Args:
        runtime, app: source and destination of the copied folders.
    """
    path = 'ENV PATH="/opt/conda/bin:${PATH}"\n' if recipe.conda else ""
    described = " ".join(f"{name}={json.dumps(value)}" for name, value in sorted(recipe.labels.items()))
    command = [*COMMAND, "--host", "0.0.0.0", "--port", str(SCORING_PORT)]  # noqa: S104 - inside of a container
    return f"""\
{path}ENV PYTHONPATH=/mlmgmt/runtime PYTHONUNBUFFERED=1 HOME=/home/mlmgmt
EXPOSE {SCORING_PORT}
HEALTHCHECK --start-period=300s CMD {_words(HEALTH_CHECK)}
ENTRYPOINT []
CMD {_words(command)}
WORKDIR /app
COPY {runtime}
RUN {_words(_COMPILE)}
USER 1000:1000
COPY --chown=1000:1000 {app}
{f"LABEL {described}" if described else ""}
"""


def _words(command: Sequence[str]) -> str:
    return json.dumps(list(command))
