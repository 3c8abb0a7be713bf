"""Model files have the same bytes for the same model: deploying it again makes no new version."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlmgmt_nb.packaging.flavours.frameworks.skops_file import renumbered

LABELS = [0, 1] * 10
TEXTS = ["aa bb", "cc dd"] * 10


def rows() -> pd.DataFrame:
    return pd.DataFrame({"a": np.arange(20.0), "b": list("xyxy") * 5})


def columns() -> Any:
    encoder = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("n", StandardScaler(), ["a"]), ("c", encoder, ["b"])])


MODELS: dict[str, tuple[Any, Any]] = {
    "linear": (Ridge(), rows()[["a"]]),
    "forest": (make_pipeline(columns(), RandomForestClassifier(3, random_state=0)), rows()),
    "neighbors": (KNeighborsClassifier(), rows()[["a"]]),
    "text": (make_pipeline(TfidfVectorizer(), LogisticRegression()), TEXTS),
    "search": (GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2), rows()[["a"]]),
}


@pytest.mark.parametrize("name", MODELS)
def test_skops_files(name: str) -> None:
    from skops import io

    unfitted, data = MODELS[name]
    model = unfitted.fit(data, LABELS)
    first, _, second = renumbered(io.dumps(model)), [object() for _ in range(1000)], renumbered(io.dumps(model))
    assert first == second
    loaded = io.loads(first, trusted=io.get_untrusted_types(data=first))
    assert loaded.predict(data).tolist() == model.predict(data).tolist()
    assert renumbered(io.dumps(unfitted.fit(data, LABELS[::-1]))) != first


def test_names_of_the_file_are_not_mistaken_for_those_of_a_dict() -> None:
    from skops import io

    given = {"file": "7.npy", "__id__": 7, "array": np.arange(3)}
    loaded = io.loads(renumbered(io.dumps(given)))
    assert (loaded["file"], loaded["__id__"], loaded["array"].tolist()) == ("7.npy", 7, [0, 1, 2])
