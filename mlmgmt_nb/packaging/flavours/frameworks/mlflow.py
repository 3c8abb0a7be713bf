"""MLflow: model folders with an `MLmodel` file. `mlflow.pyfunc` runs them with the requirements of the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mlmgmt_nb.contract.conda import CondaFile, CondaFileError
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.samples.sample import Sample, of_model
from mlmgmt_nb.safe_yaml import YamlError, read_yaml

__all__ = ["FLAVOUR"]

_AGAIN = "Log the model again."


class MLflow(Flavour):
    """MLflow model folders with the flavor `python_function`."""

    name = "mlflow"
    roots: ClassVar[tuple[str, ...]] = ("mlflow",)

    def takes_file(self, path: Path) -> bool:
        return (path / "MLmodel").is_file()

    def takes(self, model: Any) -> bool:
        return super().takes(model) and hasattr(model, "unwrap_python_model")

    def sample(self, model: Any, sample: Any) -> Sample:
        if sample is None and isinstance(model, Path):
            sample = _example(model)
        return of_model(sample, arrays=True)

    def save(self, model: Any, call: Call, folder: Path) -> SavedModel:  # noqa: ARG002
        raise UsageError(
            "model: a model that MLflow loaded cannot be written again",
            field="model",
            fix="Give the path of its folder, which has the file MLmodel.",
        )

    def adopt(self, path: Path, call: Call, folder: Path) -> SavedModel:
        content = _described(path)
        pyfunc = _mapping(content.get("flavors")).get("python_function")
        if not isinstance(pyfunc, dict):
            raise UsageError(
                f"model: {path.name} has no flavor python_function", field="model", fix="Log it with a Python flavor."
            )
        name = copied(path, folder)
        facts = {"class": pyfunc.get("loader_module", "mlflow"), "run": content.get("run_id")}
        return SavedModel(
            name,
            "MLflow folder",
            # In an image, the files are links, and MLflow does not follow links that lead out of the folder.
            load=(
                f'folder = os.path.dirname(os.path.realpath("{name}/MLmodel"))',
                "model = mlflow.pyfunc.load_model(folder)",
            ),
            answer=(f"return model.predict({call.sample.passed})",),
            imports=("import os", "import mlflow.pyfunc"),
            metadata={key: value for key, value in facts.items() if value},
            requirements=_requirements(path),
        )


def _described(path: Path) -> Mapping[str, Any]:
    return _mapping(_yaml(path / "MLmodel"))


def _yaml(file: Path) -> object:
    try:
        return read_yaml(file.read_text(encoding="utf-8"))
    except (YamlError, UnicodeDecodeError) as error:
        raise UsageError(f"model: {file} is not YAML: {error}", field="model", fix=_AGAIN) from error


def _mapping(value: object) -> Mapping[str, Any]:
    """Return a value if it is a mapping, otherwise an empty mapping."""
    return value if isinstance(value, dict) else {}


def _example(path: Path) -> Any:
    """Return the logged input example as a DataFrame; None if there is none or it is not a DataFrame."""
    info = _mapping(_described(path).get("saved_input_example_info"))
    file = (path / str(info.get("artifact_path", ""))).resolve()
    if info.get("type") != "dataframe" or not file.is_file() or not file.is_relative_to(path.resolve()):
        return None
    import pandas as pd

    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return pd.DataFrame(content["data"], columns=content.get("columns"))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"model: its input example {file.name} cannot be read: {error}", field="sample", fix="Give a `sample`."
        ) from error


def _requirements(path: Path) -> tuple[str, ...] | None:
    """Return the pip requirement lines of the folder; None if it has no requirements file."""
    if (file := path / "requirements.txt").is_file():
        return tuple(line for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    if (file := path / "conda.yaml").is_file():
        try:
            return tuple(CondaFile.of(_yaml(file)).pip)
        except CondaFileError as error:
            raise UsageError(
                f"model: {file} is not a conda environment file: {error}", field="model", fix=_AGAIN
            ) from error
    return None


FLAVOUR = MLflow()
