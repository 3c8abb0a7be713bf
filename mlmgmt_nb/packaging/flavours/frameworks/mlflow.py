"""MLflow: model folders with an `MLmodel` file, run by `mlflow.pyfunc` with the requirements that they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel, copied
from mlmgmt_nb.packaging.sample import Sample, of_model

__all__ = ["FLAVOUR"]


class MLflow(Flavour):
    """Folders that MLflow wrote, of any flavor that has `python_function`."""

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
        pyfunc = content.get("flavors", {}).get("python_function")
        if pyfunc is None:
            raise UsageError(
                f"model: {path.name} has no flavor python_function", field="model", fix="Log it with a Python flavor."
            )
        name = copied(path, folder)
        facts = {"class": pyfunc.get("loader_module", "mlflow"), "run": content.get("run_id")}
        return SavedModel(
            name,
            "MLflow folder",
            load=(f'model = mlflow.pyfunc.load_model("{name}")',),
            answer=(f"return model.predict({call.sample.passed})",),
            imports=("import mlflow.pyfunc",),
            metadata={key: value for key, value in facts.items() if value},
            requirements=_requirements(path),
        )


def _described(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"model: {path / 'MLmodel'} is not YAML: {error}", field="model") from error
    return content if isinstance(content, dict) else {}


def _example(path: Path) -> Any:
    """Return the input example that was logged with the model, as a DataFrame; None if there is none."""
    info = _described(path).get("saved_input_example_info") or {}
    file = path / str(info.get("artifact_path", ""))
    if info.get("type") != "dataframe" or not file.is_file():
        return None
    import pandas as pd

    content = json.loads(file.read_text(encoding="utf-8"))
    return pd.DataFrame(content["data"], columns=content.get("columns"))


def _requirements(path: Path) -> tuple[str, ...] | None:
    """Return the requirement lines of the folder; None if it has none."""
    if (file := path / "requirements.txt").is_file():
        return tuple(line for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    if (file := path / "conda.yaml").is_file():
        entries = yaml.safe_load(file.read_text(encoding="utf-8")).get("dependencies") or []
        return tuple(str(line) for entry in entries if isinstance(entry, dict) for line in entry.get("pip") or ())
    return None


FLAVOUR = MLflow()
