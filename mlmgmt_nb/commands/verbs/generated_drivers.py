"""The command that generates a driver for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlmgmt_nb.client.deploying.packaged_models import PackageOptions, check_packageable
from mlmgmt_nb.commands.flags import DEPENDENCY, PACKAGING, CommonArguments, PackagingArguments
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.commands.verbs.deploy import package_options

__all__ = ["COMMANDS"]


@dataclass(frozen=True, kw_only=True)
class _Generate(PackagingArguments, CommonArguments):
    """Arguments of `driver generate`."""

    model_file: Any
    folder: str
    dependency: Sequence[str]


def _generate(session: Session, arguments: _Generate) -> object:  # noqa: ARG001 - a command is called so
    from mlmgmt_nb.packaging import package

    model = arguments.model_file
    check_packageable(model)
    options: PackageOptions = {**package_options(arguments), "dependencies": arguments.dependency}
    return Text(str(package(model, to=arguments.folder, **options)))


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        ("driver", "generate"),
        "Write the driver, schema and requirements of a model into a folder, and verify them on a sample",
        "mlmgmt driver generate -m model.onnx -o faces",
        _generate,
        (
            Flag(
                "-m --model-file", "model file; in a notebook also an object", "value", required=True, completes="path"
            ),
            *PACKAGING,
            DEPENDENCY,
            Flag("-o --folder", "new folder that gets the files", required=True, completes="path"),
        ),
        arguments=_Generate,
    ),
)
