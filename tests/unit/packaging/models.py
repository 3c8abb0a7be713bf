"""Small real models of each framework, fitted in a second: what the table test of flavours packages."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["ROWS", "SERVED", "Example", "examples"]

ROWS = 12

SERVED = (
    *("sklearn", "sklearn-pipeline", "joblib-file", "xgboost", "lightgbm", "catboost", "statsmodels", "keras"),
    *("torch", "torch-script", "torch-module", "onnx", "spacy", "transformers", "mlflow", "python-object", "image"),
    "function",
)
"""Examples that are deployed, one or more of each flavour; that includes what the others are tested for."""

if importlib.util.find_spec("tensorflow") is None:
    os.environ.setdefault("KERAS_BACKEND", "torch")


@dataclass(frozen=True)
class Example:
    """A model to package.

    Attributes:
        make: makes the model, given a folder for files.
        modules: modules of the frameworks that it needs.
        form: the format that it is to be written in.
        sample: the sample.
        method: the method, or None.
        tolerance: 0 where the format keeps each bit.
    """

    make: Callable[[Path], Any]
    modules: tuple[str, ...]
    form: str
    sample: Callable[[], Any]
    method: str | None = None
    tolerance: float = 0.0


def numbers() -> Any:
    return np.random.default_rng(7).normal(size=(ROWS, 3)).round(3)


def small_numbers() -> Any:
    return numbers().astype("float32")


def frame() -> pd.DataFrame:
    return pd.DataFrame(numbers(), columns=["age", "dose", "weight"])


def mixed_frame() -> pd.DataFrame:
    """Numbers with gaps, text, categories, flags, dates."""
    made = frame().assign(
        plan=[["A", "B", "C"][row % 3] for row in range(ROWS)],
        colour=pd.Categorical([["red", "blue"][row % 2] for row in range(ROWS)]),
        member=[row % 2 == 0 for row in range(ROWS)],
        since=pd.date_range("2024-01-31", periods=ROWS, freq="D"),
        visits=range(ROWS),
    )
    made.loc[3, "dose"] = None
    return made


def labels() -> list[str]:
    return [["low", "mid", "high"][row % 3] for row in range(ROWS)]


def classes() -> Any:
    return np.arange(ROWS) % 3


def texts() -> list[str]:
    return ["Anna went to Paris.", "Nobody knows."]


def _sklearn(folder: Path) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=2.0).fit(frame(), labels())


def _sklearn_pipeline(folder: Path) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer(
        (SimpleImputer(), ["age", "dose", "weight", "visits"]),
        (OneHotEncoder(handle_unknown="ignore"), ["plan", "colour"]),
        remainder="drop",
    )
    return make_pipeline(columns, RandomForestClassifier(5, random_state=0)).fit(mixed_frame(), labels())


def _sklearn_frames(folder: Path) -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().set_output(transform="pandas").fit(frame())


def _text_pipeline(folder: Path) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts(), ["yes", "no"])


def _xgboost(folder: Path) -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(frame(), classes())


def _xgboost_booster(folder: Path) -> Any:
    import xgboost

    return xgboost.train({"nthread": 1}, xgboost.DMatrix(frame(), classes()), num_boost_round=4)


def _xgboost_file(folder: Path) -> Any:
    _xgboost_booster(folder).save_model(folder / "churn.json")
    return folder / "churn.json"


def _lightgbm(folder: Path) -> Any:
    import lightgbm

    made = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=1, verbose=-1, n_jobs=1)
    return made.fit(mixed_frame()[["age", "dose", "colour"]], labels())


def _lightgbm_binary(folder: Path) -> Any:
    import lightgbm

    made = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=1, verbose=-1, n_jobs=1)
    return made.fit(frame(), [label == "low" for label in labels()])


def _lightgbm_regressor(folder: Path) -> Any:
    import lightgbm

    made = lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=1, verbose=-1, n_jobs=1)
    return made.fit(frame(), classes())


def _catboost(folder: Path) -> Any:
    import catboost

    made = catboost.CatBoostClassifier(
        iterations=5, verbose=False, thread_count=1, cat_features=["plan"], allow_writing_files=False
    )
    return made.fit(mixed_frame()[["age", "plan"]], labels())


def _statsmodels(folder: Path) -> Any:
    import statsmodels.formula.api as formulas

    return formulas.ols("weight ~ age + dose", data=frame()).fit()


def _keras(folder: Path) -> Any:
    import keras

    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    made.fit(small_numbers(), classes(), verbose=0)
    return made


def _torch(folder: Path) -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(4, 2))


def _torch_script(folder: Path) -> Any:
    import torch

    return torch.jit.script(torch.nn.Linear(3, 2))


def _torch_module(folder: Path) -> Any:
    import torch

    class Counting(torch.nn.Module):  # type: ignore[misc]
        """A module whose flow depends on the data: it cannot be exported."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, rows: Any) -> Any:
            return self.layer(rows) if rows.sum().item() > 0 else -self.layer(rows)

    return Counting()


def _torch_file(folder: Path) -> Any:
    import torch

    program = torch.export.export(_torch(folder).eval(), (torch.zeros(ROWS, 3),))
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


def _onnx(folder: Path) -> Any:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    return to_onnx(LinearRegression().fit(small_numbers(), classes()), small_numbers())


def _onnx_file(folder: Path) -> Any:
    (folder / "faces.onnx").write_bytes(_onnx(folder).SerializeToString())
    return folder / "faces.onnx"


def _spacy(folder: Path) -> Any:
    import spacy

    made = spacy.blank("en")
    made.add_pipe("sentencizer")
    made.add_pipe("entity_ruler").add_patterns([{"label": "CITY", "pattern": "Paris"}])
    return made


def _transformers(folder: Path) -> Any:
    import transformers

    words = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "anna", "paris"])}
    (folder / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    tokenizer = transformers.BertTokenizer(vocab_file=str(folder / "vocab.txt"))
    model = transformers.BertForSequenceClassification(config).eval()
    return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device=-1)


def _transformers_folder(folder: Path) -> Any:
    _transformers(folder).save_pretrained(folder / "sentiment")
    return folder / "sentiment"


def _mlflow(folder: Path) -> Any:
    import mlflow.sklearn

    needed = [f"{name}=={version(name)}" for name in ("mlflow-skinny", "scikit-learn", "pandas", "skops")]
    mlflow.sklearn.save_model(_sklearn(folder), folder / "mlmodel", pip_requirements=needed)
    return folder / "mlmodel"


def _joblib_file(folder: Path) -> Any:
    import joblib

    joblib.dump(_sklearn(folder), folder / "iris.joblib")
    return folder / "iris.joblib"


def _pickle_file(folder: Path) -> Any:
    import pickle

    (folder / "iris.pkl").write_bytes(pickle.dumps(_sklearn(folder)))
    return str(folder / "iris.pkl")


def _skops_file(folder: Path) -> Any:
    from skops import io

    io.dump(_sklearn(folder), folder / "iris.skops")
    return folder / "iris.skops"


def _object(folder: Path) -> Any:
    class Doubler:
        """An object of no framework; of a class that no module has, as those of notebooks."""

        def predict(self, rows: Any) -> Any:
            return rows * 2

    return Doubler()


def _function(folder: Path) -> Any:
    def price(age: int, plan: str = "A") -> dict[str, float]:
        return {"price": age * (2.0 if plan == "A" else 1.0)}

    return price


def picture() -> Any:
    from PIL import Image

    return Image.fromarray((np.arange(48).reshape(4, 4, 3) * 5).astype("uint8"))


def _of_images(folder: Path) -> Any:
    return lambda image: {"mode": image.mode, "brightest": max(high for _, high in image.getextrema())}


def examples() -> dict[str, Example]:
    """Return the examples by name."""
    sklearn = ("sklearn", "skops")
    return {
        "sklearn": Example(_sklearn, sklearn, "skops", frame),
        "sklearn-proba": Example(_sklearn, sklearn, "skops", frame, "predict_proba"),
        "sklearn-pipeline": Example(_sklearn_pipeline, sklearn, "skops", mixed_frame, "predict_proba"),
        "sklearn-frames": Example(_sklearn_frames, sklearn, "skops", frame, "transform"),
        "sklearn-text": Example(_text_pipeline, sklearn, "skops", texts),
        "sklearn-series": Example(_text_pipeline, sklearn, "skops", lambda: pd.Series(texts(), name="text")),
        "sklearn-array": Example(_text_pipeline, sklearn, "skops", lambda: np.array(texts(), dtype=object)),
        "skops-file": Example(_skops_file, sklearn, "skops", frame),
        "joblib-file": Example(_joblib_file, ("sklearn",), "joblib", frame),
        "pickle-file": Example(_pickle_file, ("sklearn",), "pickle", frame),
        "xgboost": Example(_xgboost, ("xgboost",), "XGBoost UBJSON", frame, "predict_proba"),
        "xgboost-booster": Example(_xgboost_booster, ("xgboost",), "XGBoost UBJSON", frame),
        "xgboost-file": Example(_xgboost_file, ("xgboost",), "XGBoost JSON", frame),
        "lightgbm": Example(
            _lightgbm, ("lightgbm",), "LightGBM text", lambda: mixed_frame()[["age", "dose", "colour"]]
        ),
        "lightgbm-proba": Example(
            _lightgbm, ("lightgbm",), "LightGBM text", lambda: mixed_frame()[["age", "dose", "colour"]], "predict_proba"
        ),
        "lightgbm-binary": Example(_lightgbm_binary, ("lightgbm",), "LightGBM text", frame),
        "lightgbm-binary-proba": Example(_lightgbm_binary, ("lightgbm",), "LightGBM text", frame, "predict_proba"),
        "lightgbm-regressor": Example(_lightgbm_regressor, ("lightgbm",), "LightGBM text", frame),
        "catboost": Example(_catboost, ("catboost",), "CatBoost binary", lambda: mixed_frame()[["age", "plan"]]),
        "statsmodels": Example(_statsmodels, ("statsmodels",), "pickle", frame),
        "keras": Example(_keras, ("keras", "torch"), "Keras", small_numbers, tolerance=1e-6),
        "torch": Example(_torch, ("torch",), "torch.export", numbers, tolerance=1e-6),
        "torch-script": Example(_torch_script, ("torch",), "TorchScript", small_numbers, tolerance=1e-6),
        "torch-module": Example(_torch_module, ("torch",), "pickle", small_numbers),
        "torch-file": Example(_torch_file, ("torch",), "torch.export", small_numbers),
        "onnx": Example(_onnx, ("onnx", "onnxruntime", "skl2onnx"), "ONNX", numbers),
        "onnx-file": Example(_onnx_file, ("onnx", "onnxruntime", "skl2onnx"), "ONNX", lambda: None),
        "spacy": Example(_spacy, ("spacy",), "spaCy folder", texts),
        "transformers": Example(
            _transformers, ("transformers", "torch"), "transformers folder", lambda: ["Anna", "Paris"], tolerance=1e-6
        ),
        "transformers-folder": Example(
            _transformers_folder, ("transformers", "torch"), "transformers folder", lambda: ["Anna", "Paris"]
        ),
        "mlflow": Example(_mlflow, ("mlflow", "sklearn"), "MLflow folder", frame),
        "python-object": Example(_object, (), "pickle", numbers),
        "function": Example(_function, (), "pickle", lambda: {"age": 41, "plan": "B"}),
        "image": Example(_of_images, ("PIL",), "pickle", picture),
        "lambda": Example(lambda _: lambda rows: rows.sum(axis=1), (), "pickle", frame),
    }
