"""Each flavour on a real small model: a fresh process answers as the object does, and sees the requirements only."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from mlmgmt_nb.packaging import package
from tests.support.searches import long_search
from tests.unit.packaging.models import SERVED, Example, examples

DRIVERS = Path(__file__).parents[3] / ".docs" / "guides" / "generated"
"""Generated drivers that the documentation shows."""


EXAMPLES = {name: one for name, one in examples().items() if name not in SERVED or (DRIVERS / f"{name}.py").exists()}
"""The others are deployed, which does the same first."""


LEFT_TO_CI = ("sklearn-series", "sklearn-proba", "sklearn-text")
"""Further kinds of samples of scikit-learn."""


@pytest.mark.parametrize(
    ("name", "example"),
    [pytest.param(*one, id=one[0], marks=[long_search] if one[0] in LEFT_TO_CI else []) for one in EXAMPLES.items()],
)
def test_a_fresh_process_answers_as_the_object(name: str, example: Example, tmp_path: Path) -> None:
    missing = [module for module in example.modules if importlib.util.find_spec(module) is None]
    if missing:
        assert os.environ.get("CI") != "true", f"CI is to test all flavours, and lacks {', '.join(missing)}"
        pytest.skip(f"{', '.join(missing)} is not installed: it is of the extra `flavours`, or PyTorch")
    made = package(
        example.make(tmp_path),
        sample=example.sample(),
        method=example.method,
        tolerance=example.tolerance,
        to=tmp_path / "package",
    )
    assert made.format == example.form
    assert made.proof is not None
    assert made.proof.compared != (made.model.name not in _WRITTEN)
    assert made.proof.largest <= example.tolerance
    if (committed := DRIVERS / f"{name}.py").exists():
        assert made.driver.read_text() == committed.read_text()
    assert {path.name for path in made.folder.iterdir()} >= {"score.py", "service_schema.json", "requirements.txt"}


_WRITTEN = {
    "model.skops",
    "model.ubj",
    "model.txt",
    "model.cbm",
    "model.pkl",
    "model.keras",
    "model.pt2",
    "model.pt",
    "model.onnx",
    "model",
}
"""Names of model files that were made of an object; files that were given keep theirs."""
