"""Commands: manifests. The flags and steps that lead to a manifest are shared with images and services."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mlmgmt_nb.client import Application
from mlmgmt_nb.client.packages import application_of
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.verbs.packages import PACKAGING, check_options, package_of
from mlmgmt_nb.contract import Manifest
from mlmgmt_nb.errors import UsageError

__all__ = ["APPLICATION", "COMMANDS", "make_manifest", "step"]

T = TypeVar("T")

APPLICATION = (
    Flag("-f --driver", "driver file, such as score.py", completes="path", metavar="FILE"),
    Flag("-r --runtime", "runtime of the driver", choices=("python", "spark-py"), default="python"),
    Flag("-i --model-id", "id or name of a registered model (repeatable)", "many", completes="model"),
    Flag(
        "-m --model-file",
        "model to register first (repeatable). Without a driver: one file, or in a notebook an object",
        "many",
        completes="path",
        metavar="PATH",
    ),
    Flag("-s --schema-file", "schema file of the driver", completes="path", metavar="FILE"),
    Flag("-c --conda-file", "conda environment file", completes="path", metavar="FILE"),
    Flag(
        "-p --requirements", "pip requirements file, or a list of its lines", "value", completes="path", metavar="FILE"
    ),
    Flag("--any-python", "ignore the Python version in the conda file and use the available Python", "switch"),
    Flag("-d --dependency", "file or folder beside the driver (repeatable)", "many", completes="path"),
)
"""Flags that say what a manifest is made of."""


def step(session: Session, name: str, call: Callable[[], T]) -> T:
    """Run one step of a command and report its duration."""
    started = time.perf_counter()
    result = call()
    if session.report:
        session.report(name, time.perf_counter() - started)
    return result


def make_manifest(
    session: Session, arguments: Any, name: str, description: str | None, compute: str | None = None
) -> Manifest:
    """Register the models that the flags name, then the manifest. A model without a driver is packaged first.

    Args:
        session: what the commands of a user share.
        arguments: those of the command.
        name: of the manifest.
        description: of the manifest.
        compute: the compute that its image is built for, if that is known.

    Raises:
        UsageError: the driver is missing, or a file cannot be read. Nothing was sent.
    """
    if arguments.driver is None and arguments.model_file:
        return _packaged_manifest(session, arguments, name, description)
    check_options(arguments)
    if arguments.driver is None:
        raise UsageError("--driver is missing", field="driver", fix="Give the driver with -f, such as `-f score.py`.")
    application = Application(
        driver=arguments.driver,
        schema=arguments.schema_file,
        requirements=arguments.requirements,
        conda=arguments.conda_file,
        dependencies=arguments.dependency or (),
        runtime=arguments.runtime,
        any_python=bool(arguments.any_python),
    )
    workspace = session.workspace
    workspace.manifests.check(application, compute)

    def registered() -> list[str]:
        found = [workspace.models.get(model) for model in arguments.model_id or ()]
        files = arguments.model_file or ()
        made = [
            workspace.models.register(file, progress=session.uploading(file), on_reuse=session.reused) for file in files
        ]
        return [model.id or "" for model in (*found, *made)]

    model_ids = step(session, "model", registered)
    return step(
        session,
        "manifest",
        lambda: workspace.manifests.create(name, application, model_ids=model_ids, description=description),
    )


def _packaged_manifest(session: Session, arguments: Any, name: str, description: str | None) -> Manifest:
    workspace = session.workspace
    started = time.perf_counter()
    with package_of(arguments) as package:
        if session.report:
            session.report(f"package ({package.summary})", time.perf_counter() - started)
        application = application_of(
            package,
            requirements=arguments.requirements,
            conda=arguments.conda_file,
            dependencies=arguments.dependency or (),
            any_python=bool(arguments.any_python),
        )

        def registered() -> str:
            made = workspace.models.register(
                package.model, name, tags=package.tags, description=package.description, on_reuse=session.reused
            )
            return made.id or ""

        model_id = step(session, "model", registered)
        return step(
            session,
            "manifest",
            lambda: workspace.manifests.create(
                name, application, model_ids=[model_id], description=description or package.description
            ),
        )


def _create(session: Session, arguments: Any) -> Any:
    default = Path(arguments.driver).stem if isinstance(arguments.driver, str) else None
    return make_manifest(session, arguments, arguments.manifest_name or default or "", arguments.manifest_description)


def _show(session: Session, arguments: Any) -> Any:
    return session.workspace.manifests.get(arguments.manifest_id)


def _list(session: Session, arguments: Any) -> Any:
    return session.workspace.manifests.list(model_id=arguments.model_id, manifest_name=arguments.manifest_name)


COMMANDS = (
    Command(
        ("manifest", "create"),
        "Register a manifest: a driver with its models, files and runtime",
        "mlmgmt manifest create --manifest-name iris -f score.py -r python -i iris",
        _create,
        (
            Flag("-n --manifest-name", "name of the manifest (default: name of the driver)"),
            *APPLICATION,
            *PACKAGING,
            Flag("--manifest-description", "free text"),
        ),
        ("manifests_register",),
    ),
    Command(
        ("manifest", "show"),
        "Show a manifest by id, or the latest version by name",
        "mlmgmt manifest show -i iris",
        _show,
        (Flag("-i --manifest-id", "id or name of the manifest", required=True, completes="manifest"),),
        ("manifests_get",),
    ),
    Command(
        ("manifest", "list"),
        "List manifests, newest first",
        "mlmgmt manifest list -n iris",
        _list,
        (
            Flag("-n --manifest-name", "only manifests with this name", completes="manifest"),
            Flag("-m --model-id", "only manifests with this model", completes="model-id"),
        ),
        ("manifests_list",),
    ),
)
