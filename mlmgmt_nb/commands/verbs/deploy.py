"""The deployment flow of the client for commands. Flags define the source, and the session shows the progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlmgmt_nb.client import Poller
from mlmgmt_nb.client.deploying.flow import DeployFlow
from mlmgmt_nb.client.deploying.packaged_models import PackageOptions
from mlmgmt_nb.client.deploying.progress import DeployEvents
from mlmgmt_nb.client.deploying.sources import DeploySource
from mlmgmt_nb.client.http.files import is_url
from mlmgmt_nb.client.missing import similar_name
from mlmgmt_nb.commands.flags import PACKAGING, DeployArguments, PackagingArguments, api_arguments
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.contract import Manifest, Model
from mlmgmt_nb.errors import UsageError

__all__ = ["check_no_new_version", "compute_of", "flow", "package_options", "read_sample", "resumable", "source_of"]


def flow(
    session: Session,
    name: str,
    *,
    compute: str | None,
    description: str | None = None,
    timeout: float | None = None,
    started: list[Poller[Any]] | None = None,
) -> DeployFlow:
    """Return the deployment flow of a command.

    Args:
        session: the session, which reports its progress.
        name: name of the manifest, image or service.
        compute: compute to build the image for and to run the service on; None to create only a manifest.
        description: description of the manifest and image.
        timeout: maximum number of seconds to wait for the image.
        started: list that collects the pollers of the operations that the flow waits for.
    """
    report = session.report
    reused: list[Model | Manifest] = []

    def on_step(step: str, seconds: float) -> None:
        if report:
            same = ", ".join(f"{one.name} version {one.version}" for one in reused)
            report(f"{step} ({same}, unchanged)" if same else step, seconds)
        reused.clear()

    events = DeployEvents(
        on_package=(lambda summary, seconds: report(f"package ({summary})", seconds)) if report else None,
        on_step=on_step,
        on_operation=None if started is None else started.append,
        on_reuse=reused.append,
        upload_progress=session.uploading,
    )
    return DeployFlow(
        session.workspace,
        name,
        compute_resource_id=compute,
        description=description,
        events=events,
        timeout=timeout,
    )


def compute_of(session: Session, given: str | None) -> str:
    """Return the given compute, or the compute of the settings."""
    return given or session.setting("compute") or "local"


@contextmanager
def resumable(session: Session) -> Iterator[list[Poller[Any]]]:
    """Collect the pollers that a flow waits for. An interrupt names the command that waits for the last operation."""
    started: list[Poller[Any]] = []
    try:
        yield started
    except KeyboardInterrupt as stop:
        if started:
            watch = f"{session.prog} operation watch {started[-1].operation_id}"
            stop.add_note(f"The build continues; `{watch}` waits for it.")
        raise


def source_of(session: Session, arguments: DeployArguments) -> DeploySource:
    """Return the models and files that the flags name.

    Raises:
        UsageError: there is neither a driver nor a model file, a model file is the name of a registered model, or the
            sample file does not exist.
        NotFoundError: a model is not registered.
    """
    files = list(arguments.model_file)
    if arguments.driver is None and not files:
        raise UsageError(
            "--driver is missing", field="driver", fix="Give a driver with `-f score.py`, or a model file with -m."
        )
    if arguments.driver is not None:  # a path, never the name of a registered model: that is `--model-id`
        files = [Path(file) if isinstance(file, str) and not is_url(file) else file for file in files]
        for file in files:
            _check_no_name(session, file)
    return DeploySource(
        models=[*map(session.workspace.models.get, arguments.model_id), *files],
        driver=arguments.driver,
        schema=arguments.schema_file,
        requirements=arguments.requirements,
        conda=arguments.conda_file,
        dependencies=arguments.dependency,
        runtime=arguments.runtime,
        any_python=arguments.any_python,
        packaging=package_options(arguments),
        new_version=arguments.new_version,
    )


def _check_no_name(session: Session, file: Any) -> None:
    """Raise UsageError for a model file that does not exist, if a registered model has its name or a similar one.

    Raises:
        UsageError: it is such a file.
    """
    if not isinstance(file, Path) or file.name != str(file) or file.exists() or file.is_symlink():
        return
    if similar := similar_name(file.name, session.workspace.models.list()):
        raise UsageError(
            f"model: file not found: {file}",
            field="model",
            fix=f"For the registered model {similar!r}, give `--model-id {similar}`. Otherwise, check the path; it is "
            f"relative to {Path.cwd()}.",
        )


def check_no_new_version(given: bool, reason: str) -> None:
    """Raise UsageError for `--new-version` if nothing is registered.

    Raises:
        UsageError: the flag is given.
    """
    if given:
        raise UsageError(
            f"--new-version has no effect: {reason}, and nothing is registered",
            field="new_version",
            fix="Omit one of the two.",
        )


def package_options(arguments: PackagingArguments) -> PackageOptions:
    """Return the packaging options from the flags. A sample file is read."""
    options: PackageOptions = api_arguments(PACKAGING, arguments)  # type: ignore[assignment]
    options["sample"] = read_sample(arguments.sample)
    return options


def read_sample(given: Any) -> Any:
    """Return the sample: a Python value, or the content of a file.

    Raises:
        UsageError: the file does not exist, or cannot be read.
    """
    if not isinstance(given, (str, Path)):
        return given
    path = Path(given).expanduser()
    if not path.is_file():
        raise UsageError(
            f"--sample: file not found: {path}",
            field="sample",
            fix="Give a CSV, JSON or Parquet file, or in a notebook a value: `--sample {X}`.",
        )
    try:
        return _content(path)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"--sample: {path} cannot be read: {error}", field="sample", fix="Give a CSV, JSON or Parquet file."
        ) from error


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    import pandas as pd

    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
