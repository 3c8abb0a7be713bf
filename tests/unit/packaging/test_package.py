"""Packages of fitted objects and functions: code that travels, requirements, schema, proof, and pitfalls by name."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.metadata
import json
import platform
import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from mlmgmt_nb.errors import PackagingError, UsageError
from mlmgmt_nb.named_modules import imported_modules
from mlmgmt_nb.packaging import Package, package, pickles
from mlmgmt_nb.packaging.distributions import InstalledDistributions
from mlmgmt_nb.packaging.driver import driver_text
from mlmgmt_nb.packaging.flavours import Call, flavour_of
from mlmgmt_nb.packaging.metadata import changed_parameters, description, tags
from mlmgmt_nb.packaging.package import write_package
from mlmgmt_nb.packaging.proof import compare
from mlmgmt_nb.packaging.requirements import requirements_text
from mlmgmt_nb.packaging.samples.sample import of_model
from mlmgmt_nb.packaging.versions import difference, properties
from mlmgmt_nb.schema import load_schema

ROOT = Path(__file__).parents[3]


def rows() -> pd.DataFrame:
    return pd.DataFrame({"age": [1.0, 2.0, 8.0, 9.0], "visits": [0, 1, 0, 1]})


def fitted() -> Any:
    return LogisticRegression(C=3.0).fit(rows(), ["low", "low", "high", "high"])


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Return a package that tests only look at: a fresh process proves each, and imports scikit-learn for it."""
    folder = tmp_path_factory.mktemp("packaged") / "made"
    return package(fitted(), sample=rows(), metadata={"metrics": {"auc": 0.93}}, to=folder)


# Requirements


def test_requirements_are_what_was_imported_pinned_to_this_kernel(packaged: Package) -> None:
    lines = [line for line in packaged.requirements.read_text().splitlines() if line and not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert pins.items() >= {name: importlib.metadata.version(name) for name in ("scikit-learn", "pandas")}.items()
    assert all(importlib.metadata.version(name).partition("+")[0] == version for name, version in pins.items())
    # installed here, and looked for by some of these, but not needed
    assert not pins.keys() & {"pytest", "torch", "mlmgmt-nb", "matplotlib"}


def test_an_import_within_a_function_is_measured(tmp_path: Path) -> None:
    def shout(text: str) -> str:
        import tomlkit

        return tomlkit.dumps({"text": text.upper()})

    made = package(shout, sample={"text": "no"}, to=tmp_path / "made")
    assert f"tomlkit=={importlib.metadata.version('tomlkit')}" in made.requirements.read_text().splitlines()


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        ({}, "demo-thing==1.2"),
        (
            {"url": "https://example.com/demo.tar.gz", "archive_info": {}},
            "demo-thing @ https://example.com/demo.tar.gz",
        ),
        (
            {"url": "https://example.com/demo.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "demo-thing @ git+https://example.com/demo.git@abc",
        ),
    ],
)
def test_a_distribution_is_asked_for_where_it_came_from(
    origin: dict[str, Any], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo_thing.py").write_text("def twice(text):\n    return text * 2\n")
    about = tmp_path / "demo_thing-1.2+local.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-thing\nVersion: 1.2+local\n")
    (about / "RECORD").write_text("demo_thing.py,,\n")
    if origin:
        (about / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    text = requirements_text(InstalledDistributions(), {"demo_thing": str(tmp_path / "demo_thing.py")}, tmp_path)
    assert line in text.splitlines()


def test_a_project_of_this_machine_becomes_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "own_project").mkdir(parents=True)
    (project / "own_project" / "__init__.py").write_text("ONE = 1\n")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "own-project"\nversion = "3.1"\n'
    )
    about = tmp_path / "site" / "own_project-3.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-project\nVersion: 3.1\n")
    (about / "direct_url.json").write_text(json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}}))
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "made").mkdir()
    modules = {"own_project": str(project / "own_project" / "__init__.py")}
    text = requirements_text(InstalledDistributions(), modules, tmp_path / "made")
    (wheel,) = (tmp_path / "made" / "wheels").iterdir()
    assert wheel.name.startswith("own_project-3.1-")
    assert f"./wheels/{wheel.name}" in text.splitlines()


def test_other_versions_are_spoken_of_in_one_line(packaged: Package) -> None:
    recorded = properties(packaged.requirements.read_text())
    assert recorded["pythonVersion"] == platform.python_version()
    assert difference(recorded) is None
    assert difference({}) is None
    pins = recorded["kernelVersions"].replace(f"pandas=={pd.__version__}", "pandas==0.1") + " gone-package==3"
    line = difference({**recorded, "kernelVersions": pins, "pythonVersion": "3.6.2"})
    assert line is not None
    assert "\n" not in line
    for part in ("Python 3.6.2 (here ", f"pandas 0.1 (here {pd.__version__})", "gone-package 3 (here none)"):
        assert part in line
    assert "numpy" not in line


# Code of the notebook


NOTEBOOK = """
    import sys
    from pathlib import Path
    import pandas as pd
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    import columns
    from mlmgmt_nb.packaging import package, pickles

    FACTOR = 3

    class Scaled(columns.Base, BaseEstimator, TransformerMixin):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def transform(self, X):
            from lazily import shift
            return shift(columns.numbers(X)) * FACTOR

    X = pd.DataFrame({
        "age": [1.0, None, 8.0, 9.0], "plan": ["A", "B", "A", None], "since": pd.date_range("2024-01-31", periods=4),
        "colour": pd.Categorical(["red", "blue", None, "red"]),
    })
    model = make_pipeline(Scaled(), LogisticRegression()).fit(X, ["low", "low", "high", "high"])
    made = package(model, sample=X, method="predict_proba", to="made")
    import functools
    @functools.cache
    def word(plan: str) -> str:
        return plan.upper()
    class Cached:
        @functools.lru_cache
        def look(self, plan):
            return plan.lower()
        @functools.cached_property
        def end(self):
            return "!"
        def predict(self, plans):
            return [word(plan) + self.look(plan) + self.end for plan in plans]
    assert package(Cached(), sample=["a"], to="cached").expected == ["Aa!"]

    print(made)
    assert made.carried[-1] == "Scaled", made.carried
    assert made.proof.largest == 0, made.proof
"""
FILES = {
    "columns.py": """
        import words
        from parents import Parent

        class Base(Parent):
            pass

        def numbers(X):
            return pd.concat([X.age.fillna(0), X.plan.notna().astype(float), X.since.dt.day.astype(float)], axis=1)

        import pandas as pd
    """,
    "words.py": "WORD = 'yes'\n",
    "parents/__init__.py": "from parents.inner import Parent\n",
    "parents/inner.py": "class Parent:\n    pass\n",
    "lazily.py": "def shift(X):\n    return X + 1\n",
    "unused.py": "1 / 0\n",
}


def test_modules_that_a_service_can_import_in_advance(tmp_path: Path) -> None:
    source = "import os.path, skops.io as io\nfrom pandas import DataFrame\nfrom . import own\nfrom sklearn import *\n"
    assert [*imported_modules(ast.walk(ast.parse(source)))] == [
        "os.path",
        "skops.io",
        "pandas",
        "pandas.DataFrame",
        "sklearn",
    ]
    named: set[str] = set()

    def take(found: Collection[str]) -> None:
        named.update(found)
        raise InterruptedError

    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    with pytest.raises(InterruptedError):  # no process is needed: the modules are known before the proof
        write_package(model, tmp_path / "made", np.array([[1.0]]), on_modules=take)
    assert named >= {"skops.io", "numpy"}
    assert not {name.partition(".")[0] for name in named} & sys.stdlib_module_names


def test_code_of_the_notebook_travels(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    run_notebook(tmp_path, NOTEBOOK)
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert made >= {"columns.py", "words.py", "parents", "lazily.py"}
    assert "unused.py" not in made


def test_files_that_the_model_reads_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rates.json").write_text('{"A": 2.0}')
    monkeypatch.chdir(tmp_path)

    def price(plan: str) -> float:
        return float(json.loads(Path("rates.json").read_text())[plan])

    with pytest.raises(UsageError, match=r"No such file or directory: 'rates\.json'") as raised:
        package(price, sample={"plan": "A"}, to="made")
    assert "dependencies=['rates.json']" in str(raised.value.fix)
    made = package(price, sample={"plan": "A"}, to="made", dependencies=["rates.json"])
    assert made.dependencies == (tmp_path / "made" / "rates.json",)
    for name, words in (("none.csv", "not found"), (tmp_path / "made" / "score.py", "the name of a file of the")):
        with pytest.raises(UsageError, match=f"dependencies: .*{words}"):
            package(price, sample={"plan": "A"}, to="other", dependencies=[name])


def test_text_that_is_also_the_name_of_a_folder_carries_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "password.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")

    def answer(private: str) -> str:
        return "private " + private

    made = package(answer, sample={"private": "no"}, to=tmp_path / "made")
    assert made.dependencies == ()


def run_notebook(folder: Path, text: str) -> str:
    """Run a script as a notebook runs: its classes are those of `__main__`, and modules lie beside it."""
    (folder / "notebook.py").write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pickle_of_a_class_of_a_notebook_is_refused_by_its_name(tmp_path: Path) -> None:
    run_notebook(
        tmp_path,
        """
        import pickle
        class Tripler:
            def predict(self, rows):
                return rows * 3
        open("model.pkl", "wb").write(pickle.dumps(Tripler()))
        """,
    )
    with pytest.raises(UsageError, match=r"Tripler.*does not contain it"):
        package(tmp_path / "model.pkl", sample=np.ones((2, 2)), to=tmp_path / "made")


def test_a_pickle_of_another_version_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import joblib

    model = fitted()
    state = model.__getstate__() | {"_sklearn_version": "1.0"}
    with monkeypatch.context() as older:
        older.setattr(type(model), "__getstate__", lambda self: state)  # as an older release writes it
        joblib.dump(model, tmp_path / "old.joblib")
    made = package(tmp_path / "old.joblib", sample=rows(), to=tmp_path / "made")
    assert [warning for warning in made.warnings if "InconsistentVersionWarning" in warning and "1.0" in warning]
    assert "InconsistentVersionWarning" in made.description
    assert "InconsistentVersionWarning" in str(made)


# Schema


def test_the_schema_keeps_types_and_has_an_example_of_the_answer(tmp_path: Path) -> None:
    def echo(table: pd.DataFrame) -> Any:
        return table.astype(str).to_dict("list")

    table = pd.DataFrame(
        {
            "count": pd.array([1, None], dtype="Int64"),
            "colour": pd.Categorical(["red", None], categories=["red", "blue"]),
            "member": [True, False],
            "since": pd.to_datetime(["2024-01-31T10:00Z", "2024-02-01T10:00Z"]).tz_convert("Europe/Berlin"),
            "text": ["ä", None],
        }
    )
    made = package(echo, sample=table, to=tmp_path / "made")
    schema = load_schema(made.schema)
    columns = {column.key: str(column.dtype) for column in schema.input["table"].columns}  # type: ignore[attr-defined]
    assert columns["count"] == "Int64"
    assert columns["colour"] == "category"
    assert columns["since"].endswith("Europe/Berlin]")
    assert list(schema.input["table"].example[0]) == list(table.columns)
    assert schema.output["answer"].example["count"] == ["1", None]


def test_sensitive_rows_are_left_out(tmp_path: Path) -> None:
    for example, shown in ((False, None), (pd.DataFrame({"age": [0.0], "visits": [7]}), [{"age": 0.0, "visits": 7}])):
        made = package(fitted(), sample=rows(), example=example, to=tmp_path / f"made-{shown is None}")
        assert load_schema(made.schema).input["data"].example == shown
        assert "9.0" not in "".join(path.read_text() for path in (made.schema, made.driver))


def test_values_of_hidden_rows_are_nowhere_else(tmp_path: Path) -> None:
    secrets = pd.DataFrame({"who": ["Anna", "Bert"], "group": pd.Categorical(["a", "b"])})
    for example in (False, secrets.assign(who="nobody")):
        folder = tmp_path / type(example).__name__
        made = package(lambda data: data.who.tolist(), sample=secrets, example=example, to=folder)
        schema = load_schema(made.schema)
        assert schema.output["answer"].swagger() == {"type": "array", "items": {}}  # which has the answer otherwise
        assert "Anna" not in made.schema.read_text()
        assert "the schema has the levels of the category columns: group" in made.notes
    with pytest.raises(PackagingError) as raised:
        package(lambda data: [random.random(), *data.who], sample=secrets, example=False, to=tmp_path / "differs")
    assert "\n  [0]\n" in str(raised.value)


def test_an_index_is_spoken_of_in_one_line() -> None:
    by_name = rows().set_index(pd.Index(list("abcd")))
    assert [note for note in of_model(by_name).notes if "the index of the rows" in note]
    assert not [note for note in of_model(rows().tail(2)).notes if "index" in note]


def test_integer_columns_are_spoken_of_in_one_line(packaged: Package) -> None:
    assert [note for note in packaged.notes if "visits" in note and "Int64" in note and "\n" not in note]


def test_a_function_is_described_by_its_hints_without_a_sample(tmp_path: Path) -> None:
    def price(age: int, plan: str = "A") -> float:
        return age * 1.5

    made = package(price, to=tmp_path / "made")
    assert made.proof is None
    assert 'def run(age, plan="A"):' in made.driver.read_text()
    assert load_schema(made.schema).input["age"].swagger()["type"] == "integer"


# Drivers


def test_arguments_that_the_sample_leaves_out_keep_their_defaults(tmp_path: Path) -> None:
    def fee(plan: str, *, visits: int = 8, month: str, student: bool = False, note: str | None = None) -> Any:
        return [plan, visits, month, student, note]

    made = package(fee, sample={"plan": "plus", "month": "May"}, to=tmp_path / "package")
    assert "def run(*, plan, visits=8, month, student=False, note=None):" in made.driver.read_text()
    assert json.loads(served(made.folder, {"plan": "a", "month": "b"}).stdout) == ["a", 8, "b", False, None]
    sent = {"plan": "a", "month": "b", "student": True, "note": "c"}
    assert json.loads(served(made.folder, sent).stdout) == ["a", 8, "b", True, "c"]
    assert b"student: expected true or false" in served(made.folder, {**sent, "student": 1}).stderr


def test_the_driver_is_short_and_passes_the_linters(tmp_path: Path) -> None:
    made = package(fitted(), sample=rows(), method="predict_proba", to=tmp_path / "made")
    text = made.driver.read_text()
    assert len(text.splitlines()) < 25
    assert "mlmgmt" not in text
    assert "high, low" in text
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("ruff"), *command, "--config", ROOT / "pyproject.toml", made.driver],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def call_with_more(plan: str, **visits: int) -> Any:
    return [plan, visits]


def without_names(age: int, /, plan: str = "A") -> Any:
    return [age, plan]


def of_a_model(model: str) -> str:
    return model


async def later(age: int) -> int:
    return age + 1


class LaterModel:
    async def predict(self, data: Any) -> Any:
        return [len(data)]


@pytest.mark.parametrize(
    ("model", "sample", "lines"),
    [
        (call_with_more, {"plan": "A", "may": 1}, ["def run(plan, may):", "return model(plan=plan, may=may)"]),
        (without_names, {"age": 3}, ['def run(age, plan="A"):', "return model(age, plan=plan)"]),
        (without_names, None, ['def run(age, plan="A"):', "return model(age, plan=plan)"]),
        (of_a_model, {"model": "Golf"}, ["global function", "def run(model):", "return function(model=model)"]),
        (later, {"age": 3}, ["async def run(age):", "return await model(age=age)"]),
        (LaterModel(), [1, 2], ["async def run(data):", "return await model.predict(data)"]),
    ],
)
def test_functions_are_called_as_they_are_declared(model: Any, sample: Any, lines: list[str], tmp_path: Path) -> None:
    flavour = flavour_of(model)
    call = Call(flavour.method(model), flavour.sample(model, sample))
    text = driver_text("a model", flavour.save(model, call, tmp_path), call, {})
    assert [line for line in lines if line not in text] == []


def test_a_driver_waits_for_an_asynchronous_function(tmp_path: Path) -> None:
    made = package(later, sample={"age": 3}, to=tmp_path / "made")
    assert made.expected == 4
    assert made.proof is not None
    assert made.proof.largest == 0


class Counting:
    """A model that changes itself and its argument."""

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, data: Any) -> Any:
        self.calls += 1
        data["calls"] = self.calls
        return data.sum(axis=1)


def test_the_model_may_change_itself_and_its_argument(tmp_path: Path) -> None:
    sample = rows()
    made = package(Counting(), sample=sample, to=tmp_path / "made")
    assert list(sample) == list(load_schema(made.schema).input["data"].example[0]) == ["age", "visits"]


# Metadata


def test_facts_of_the_model_go_with_it(packaged: Package) -> None:
    assert set(packaged.tags) >= {
        "class=LogisticRegression",
        "parameters.C=3.0",
        "metrics.auc=0.93",
        "columns=age, visits",
    }
    assert "C=3.0" in packaged.description
    assert "auc 0.93" in packaged.description


class Secretive(LogisticRegression):  # type: ignore[misc]
    def __init__(self, api_key: str = "", url: str = "", text: str = "", limit: float = np.nan, k: Any = 1) -> None:
        super().__init__()
        self.api_key, self.url, self.text, self.limit, self.k = api_key, url, text, limit, k


def test_facts_have_no_secrets_and_are_short() -> None:
    model = Secretive("t0p", "https://me:pa55@host/x", "x" * 100_000, k=np.int64(3))
    facts = {"class": "Secretive", "flavour": "scikit-learn", "format": "pickle", **changed_parameters(model)}
    parameters = [tag for tag in tags(facts) if tag.startswith("parameters.")]
    assert parameters[:2] == ["parameters.api_key=***", "parameters.k=3"]
    assert parameters[3] == "parameters.url=https://***@host/x"
    assert len(parameters) == 4  # NaN is the default of `limit`
    assert len(description(facts)) < 300
    assert not [secret for secret in ("t0p", "pa55") if secret in description(facts) or secret in str(tags(facts))]


def test_parameters_of_other_frameworks() -> None:
    xgboost = pytest.importorskip("xgboost")
    assert changed_parameters(xgboost.XGBClassifier(n_estimators=5)) == {"parameters": {"n_estimators": 5}}


# Proof


def test_a_difference_stops_with_the_rows(tmp_path: Path) -> None:
    def roll(data: Any) -> list[float]:
        return [1.0, random.random()]

    with pytest.raises(PackagingError, match=r"\[1\]: 0\.\d+ instead of 0\.\d+") as raised:
        package(roll, sample=rows(), to=tmp_path / "made")
    assert [difference.path for difference in raised.value.proof.differences] == ["[1]"]


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "paths"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, []),
        ([1.0, 2.0], [1.0, 2.0 + 1e-9], 1e-6, []),
        ([1.0, 2.0], [1.0, 2.1], 1e-6, ["[1]"]),
        ([{"low": 0.5}], [{"low": 0.7}], 1e-6, ["[0].low"]),
        ([{"low": 0.5}], [{"high": 0.5}], 1e-6, ["[0]"]),
        (["a", "b"], ["a", "c"], 1.0, ["[1]"]),
        ([1, 0], [True, False], 1.0, ["[0]", "[1]"]),
        ([None], [0.0], 1.0, ["[0]"]),
        ([1, 2], [1], 1.0, [""]),
        ([1e-17], [0.0], 1e-12, []),
    ],
)
def test_answers_are_compared(left: Any, right: Any, tolerance: float, paths: list[str]) -> None:
    assert [difference.path for difference in compare(left, right, tolerance)[1]] == paths


# Pitfalls


class NoPredict:
    pass


class Connected:
    def __init__(self) -> None:
        self.parts = {"store": sqlite3.connect(":memory:")}

    def predict(self, data: Any) -> Any:
        return data


def over_a_table(of: str) -> Any:
    """Return code in several places of a model, that refers to 160 MB."""
    table = pd.DataFrame(np.zeros((20_000_000, 1)))

    class Looker:
        def predict(self, rows: Any) -> Any:
            return table.iloc[: len(rows)]

    def look(table: Any, rows: Any) -> Any:
        return table.iloc[: len(rows)]

    return {
        "function": lambda rows: table.iloc[: len(rows)],
        "method": Looker(),
        "partial": functools.partial(look, table),
        "step": make_pipeline(FunctionTransformer(lambda rows: rows + table[0][0]), LinearRegression()).fit(
            rows(), [1, 2, 3, 4]
        ),
    }[of]


@dataclasses.dataclass
class Point:
    x: float


def takes_a_point(point: Point) -> float:
    return point.x


def needs_a_package(data: Any) -> Any:
    import surely_not_installed  # type: ignore[import-not-found]

    return surely_not_installed.answer(data)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (NoPredict, {}, "is a class, not a fitted object"),
        (NoPredict(), {}, "an object of type NoPredict has no method `predict` and cannot be called"),
        (LogisticRegression(), {}, "this LogisticRegression is not fitted"),
        (make_pipeline(LinearRegression()), {}, "this Pipeline is not fitted"),
        (fitted(), {"sample": None}, "a sample is needed"),
        (fitted(), {"sample": rows().head(0)}, "sample: it has no rows"),
        (fitted(), {"sample": OneHotEncoder().fit_transform(rows())}, "sample: a sparse matrix has no JSON form"),
        (
            fitted(),
            {"sample": pd.Series([1.0], name=pd.Timestamp("2017"))},
            "sample: the name of the Series, Timestamp",
        ),
        (fitted(), {"example": pd.DataFrame({"other": [1.0]})}, r"example\[0\]"),
        (fitted(), {"tolerance": -1}, "tolerance is -1"),
        (fitted(), {"tolerance": "small"}, "tolerance is 'small'"),
        (fitted(), {"metadata": ["auc"]}, r"metadata: it is \['auc'\]"),
        (fitted(), {"dependencies": "rates.json"}, "dependencies: it is a path"),
        (lambda *values: 1, {"sample": None}, r"arguments of a function of \(\*values\) are not known"),
        (takes_a_point, {"sample": {"point": Point(1.0)}}, "JSON has no Point, which the argument 'point' needs"),
        (takes_a_point, {"sample": {"point": {"x": 1.0}}}, r"lambda point: function\(Point\(\*\*point\)\)"),
        (fitted(), {"sample": pd.DataFrame({"other": [1.0]})}, "sample: the model refuses it: ValueError"),
        (lambda x: x, {"method": "predict"}, r"Name a method that takes the sample, or leave it out\."),
        (OneHotEncoder().fit(rows()), {"method": "predict"}, r"such as `method='transform'`"),
        (fitted(), {"method": "predict_all"}, "a LogisticRegression has no method 'predict_all'"),
        (Connected(), {}, r"model\.parts\['store'\] is a sqlite3\.Connection"),
        (needs_a_package, {}, "surely_not_installed"),
        ("no-such-model.pkl", {}, "file not found"),
        (Path(__file__), {}, r"test_package\.py is not a file of a known model format"),
        (
            lambda age, plan: 1,
            {"sample": {"age": 1, "weight": 2}},
            "it has age, weight, and the function takes",
        ),
    ],
)
def test_pitfalls_are_named(model: Any, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        package(model, **{"sample": rows(), "to": tmp_path / "made", **options})
    assert raised.value.fix
    assert not list(tmp_path.glob("made/*"))  # so that the corrected line can be run again


@pytest.mark.parametrize(
    ("model", "sample", "fix"),
    [
        (lambda data: data["age"], rows().iloc[0], "give `sample=X.to_dict()`"),
        (
            lambda data: data.index.strftime("%Y").tolist(),
            rows().set_index(pd.date_range("2017", periods=4)),
            "reset_index",
        ),
        (lambda data: list(data.index), rows().set_index(pd.Index(["a", "b", "c", "d"])), "reset_index"),
    ],
)
def test_an_index_that_the_model_needs_is_named(model: Any, sample: Any, fix: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, PackagingError)) as raised:
        package(model, sample=sample, to=tmp_path / "made")
    assert fix in (raised.value.fix or "")


def test_a_series_has_a_series_as_example(tmp_path: Path) -> None:
    made = package(lambda data: data.tolist(), sample=pd.Series(["a"]), example=pd.Series(["b"]), to=tmp_path / "made")
    assert load_schema(made.schema).example() == {"data": ["b"]}


def test_a_class_is_not_a_sample() -> None:
    with pytest.raises(UsageError, match="sample: type 'DataFrame' is not supported"):
        of_model(pd.DataFrame)


def test_a_series_has_its_name_as_source(tmp_path: Path) -> None:
    row = pd.DataFrame({"a": [1.0], "b": [2.0]}, index=np.array([7])).iloc[0]  # its name is an integer of NumPy
    assert repr(row.name) == "np.int64(7)"
    made = package(lambda data: [data.name, data.sum()], sample=row, to=tmp_path / "made")
    assert "name=7" in made.driver.read_text()
    assert made.notes == ("the index of a Series is not part of a request; to send it give `sample=X.to_dict()`",)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ("function", "the function <lambda> refers to table"),
        ("method", "the function predict refers to table"),
        ("partial", "the partial refers to its argument 0"),
        ("step", "the function <lambda> refers to table"),
    ],
)
def test_code_over_much_data_is_refused_with_name_and_size(of: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"{words}, a .*DataFrame of 160 MB"):
        package(over_a_table(of), sample=rows(), to=tmp_path / "made")


TEXT = "x" * 1000


def texts() -> list[str]:
    return [f"{number:06}" * 170 for number in range(200_000)]


def code_over(value: Any) -> dict[str, Any]:
    """Return code that refers to a value, in the ways that only its nested code, its defaults or its class show."""

    class Table:
        rows = value

        def predict(self, rows: Any) -> Any:
            return rows

    def nested(rows: Any) -> Any:
        return [(lambda row: (value, row))(row) for row in rows]

    def default(rows: Any, value: Any = value) -> Any:
        return rows

    def keyword(rows: Any, *, value: Any = value) -> Any:
        return rows

    return {"nested": nested, "class": Table(), "default": default, "keyword": keyword}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: [np.zeros(20_000_000)], "list of 160 MB"),
        (lambda: {"a": {"b": pd.Series(np.zeros(20_000_000))}}, "dict of 160 MB"),
        (lambda: pd.DataFrame({"text": texts()}), r"DataFrame of 2\d\d MB"),
        (texts, r"list of 2\d\d MB"),
        (lambda: [TEXT] * 200_000, None),  # one text, which a pickle has once
        (lambda: pd.DataFrame({"level": pd.Categorical([TEXT + str(n) for n in range(1000)] * 500)}), None),
        (lambda: np.zeros(10), None),
    ],
    ids=["list", "dict", "text-column", "texts", "one-text", "levels", "small"],
)
def test_data_is_measured_without_pickling_it(make: Callable[[], Any], words: str | None) -> None:
    for model in code_over(make()).values():
        if words is None:
            pickles.pickled(model)
        else:
            with pytest.raises(UsageError, match=f"refers to (value|rows|its default 0), a .*{words}"):
                pickles.pickled(model)


def test_an_open_connection_in_a_step_is_refused_with_its_name(tmp_path: Path) -> None:
    store = sqlite3.connect(":memory:")
    step = FunctionTransformer(lambda rows: (store, rows)[1])
    model = make_pipeline(step, LinearRegression()).fit(rows(), [1, 2, 3, 4])
    with pytest.raises(UsageError, match=r"model: store is a sqlite3\.Connection, which cannot be sent"):
        package(model, sample=rows(), to=tmp_path / "made")


def test_only_an_empty_folder_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        package(fitted(), sample=rows(), to=tmp_path)


# Serving by hand


def served(folder: Path, body: Any) -> subprocess.CompletedProcess[bytes]:
    """Return what a fresh process answers to a request."""
    code = (
        "import sys, json\n"
        "from mlmgmt_nb.scoring.application.application import find_application\n"
        "from mlmgmt_nb.scoring.driver.loading import load_driver\n"
        "print(load_driver(find_application(sys.argv[1])).answer(sys.stdin.buffer.read()).decode())"
    )
    request = json.dumps(body).encode()
    return subprocess.run([sys.executable, "-c", code, folder], input=request, capture_output=True, cwd=ROOT)


def test_the_folder_is_an_ordinary_application(packaged: Package) -> None:
    done = served(packaged.folder, {"data": rows().to_dict("records")})
    assert json.loads(done.stdout) == fitted().predict(rows()).tolist(), done.stderr
