"""Commands: models without a driver, which are packaged first. The flags are shared by all commands that deploy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlmgmt_nb.client.packages import PackageOptions, check_not_packaged, check_packageable, packaged
from mlmgmt_nb.commands.grammar import Command, Flag
from mlmgmt_nb.commands.session import Session
from mlmgmt_nb.commands.values import Text
from mlmgmt_nb.errors import UsageError

if TYPE_CHECKING:
    from mlmgmt_nb.packaging import Package

__all__ = ["COMMANDS", "PACKAGING", "check_options", "package_of"]

PACKAGING = (
    Flag(
        "--sample",
        "rows that a model without a driver takes: a Python value, or a CSV, JSON or Parquet file",
        "value",
        completes="path",
        metavar="DATA",
    ),
    Flag("--method", "method of the model that answers (default: predict, or the function itself)"),
    Flag("--example", "show rows of the sample as the example of the service", "yes-no", default=True),
    Flag("--tolerance", "largest relative difference between package and object", "number", default=1e-6),
)
"""Flags that say how a model without a driver is packaged."""


@contextmanager
def package_of(arguments: Any) -> Iterator[Package]:
    """Package the one model that the flags name, in a folder that goes away at the end.

    Raises:
        UsageError: there is not exactly one model, or it cannot be packaged.
        PackagingError: the package does not answer as the object does.
    """
    files = list(arguments.model_file)
    only = files[0] if len(files) == 1 and not arguments.model_id else files
    check_packageable(only, schema=arguments.schema_file, runtime=arguments.runtime)
    with packaged(files[0], _options(arguments)) as package:
        yield package


def check_options(arguments: Any) -> None:
    """Check that nothing is said about packaging where a driver is given.

    Raises:
        UsageError: something is, and would be ignored.
    """
    check_not_packaged({"sample": arguments.sample, "method": arguments.method, "example": arguments.example})


def _options(arguments: Any) -> PackageOptions:
    return {
        "sample": _sample(arguments.sample),
        "method": arguments.method,
        "example": arguments.example,
        "tolerance": arguments.tolerance,
    }


def _sample(given: Any) -> Any:
    """Return the sample: a Python value, or the content of a file."""
    if not isinstance(given, (str, Path)):
        return given
    path = Path(given).expanduser()
    if not path.is_file():
        raise UsageError(
            f"--sample: file not found: {path}",
            field="sample",
            fix="Give a CSV, JSON or Parquet file, or in a notebook a value: `--sample {X}`.",
        )
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    import pandas as pd

    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def _generate(session: Session, arguments: Any) -> Any:  # noqa: ARG001 - a command is called so
    from mlmgmt_nb.packaging import package

    model = arguments.model_file
    check_packageable(model)
    return Text(str(package(model, to=arguments.folder, **_options(arguments))))


COMMANDS = (
    Command(
        ("driver", "generate"),
        "Write the driver, schema and requirements of a model into a folder, and prove them on a sample",
        "mlmgmt driver generate -m model.onnx -o faces",
        _generate,
        (
            Flag(
                "-m --model-file", "model file; in a notebook also an object", "value", required=True, completes="path"
            ),
            *PACKAGING,
            Flag("-o --folder", "new folder that gets the files", required=True, completes="path"),
        ),
    ),
)
