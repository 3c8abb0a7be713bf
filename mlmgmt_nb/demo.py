"""`mlmgmt demo`: train a model of the iris data set, deploy it as a web service, and request predictions."""

from __future__ import annotations

import builtins
import runpy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlmgmt_nb import connect
from mlmgmt_nb.commands.usage import Usage
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["run"]

T = TypeVar("T")

NAME = "iris"
DRIVER = """\
import joblib


def init():
    global model
    model = joblib.load("iris.pkl")


def run(input_df):
    kinds = model.predict(input_df)
    chances = model.predict_proba(input_df).max(axis=1)
    return [{"kind": kind, "chance": round(chance, 3)} for kind, chance in zip(kinds.tolist(), chances.tolist())]
"""


def run(
    print: Callable[[str], object] = builtins.print,  # noqa: A002 - it replaces `print`
    *,
    home: Path | None = None,
) -> ServiceResponse:
    """Train, register, build, serve and score, and report each step. A second run creates the next version.

    Args:
        print: called with each line.
        home: the state folder (default: the state folder of the user).

    Returns:
        The service that answered.

    Raises:
        UsageError: scikit-learn is not installed.
        MlmgmtError: a step failed.
    """
    begun = time.perf_counter()

    def report(step: str, seconds: float) -> None:
        print(f"  {seconds:6.2f} s  {step}")

    with tempfile.TemporaryDirectory(prefix="mlmgmt-demo-") as name:
        folder = Path(name)
        print(f"A model of the iris flowers as the web service {NAME!r}:")
        sample = _timed("train", report, lambda: _train(folder))
        with _timed("connect", report, lambda: connect(home=home)) as workspace:
            service = workspace.deploy(
                NAME,
                model=folder / "iris.pkl",
                driver=folder / "score.py",
                schema=folder / "service_schema.json",
                description="Species of an iris, predicted from the lengths and widths of its sepals and petals",
                tags=["demo"],
                on_step=report,
            )
            answers = _timed("score", report, lambda: workspace.services.run(service, {"input_df": sample}))
    version = max(model.version or 0 for model in service.models or [])
    print(f"  {time.perf_counter() - begun:6.2f} s  in total")
    print(f"\nModel {NAME}, version {version}, answers at {service.scoring_uri}")
    for values, answer in zip(sample.to_numpy().tolist(), answers, strict=True):
        print(f"  {values} -> {answer['kind']} ({100 * answer['chance']:.0f} %)")
    usage = Usage(NAME, service.scoring_uri or "", "", {"input_df": sample.head(1).to_dict("records")})
    print(f"\nAsk it in a shell, by curl; `mlmgmt service usage -n {NAME}` has this in Python:\n\n{usage.curl}\n")
    print("It keeps running: `mlmgmt status` shows its service, `mlmgmt stop` stops both.")
    return service


def _timed(step: str, report: Callable[[str, float], None], action: Callable[[], T]) -> T:
    begun = time.perf_counter()
    made = action()
    report(step, time.perf_counter() - begun)
    return made


def _train(folder: Path) -> pd.DataFrame:
    """Write the model, its driver and its schema to `folder`. Return one row of each species."""
    try:
        import joblib
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise UsageError(
            f"the demo trains a model with scikit-learn, which is not installed ({error})",
            fix='Install it with: pip install "mlmgmt-nb[demo]"',
        ) from error
    from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema

    iris = load_iris(as_frame=True)
    kinds = iris.target_names[iris.target]
    joblib.dump(LogisticRegression(max_iter=1000).fit(iris.data, kinds), folder / "iris.pkl")
    driver = folder / "score.py"
    driver.write_text(DRIVER)
    sample: pd.DataFrame = iris.data.iloc[[0, 50, 100]]
    generate_schema(
        run_func=runpy.run_path(str(driver))["run"],
        inputs={"input_df": SampleDefinition(DataTypes.PANDAS, sample)},
        filepath=folder / "service_schema.json",
    )
    return sample
