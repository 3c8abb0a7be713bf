"""Conda files of the kinds that public drivers ship, on compute `local`: what is installed, or why it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from mlmgmt_nb.client.applications.application import Application
from mlmgmt_nb.client.applications.conda import rewritten
from mlmgmt_nb.client.applications.requirements import Bundle
from mlmgmt_nb.contract.conda import CondaFile, pip_equivalents
from mlmgmt_nb.contract.requirements import Option, Requirement, parse
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.service.building.packages.superseded import (
    companions,
    without_retired_indexes,
    without_superseded,
    working_releases,
)
from mlmgmt_nb.service.files.logs import Log
from tests.support.package_index import project, wheel

ANY = "--any-python"
MOVE = "Move packages that pip can install to 'pip:'"


class Case(NamedTuple):
    """A file.

    Attributes:
        text: the file.
        plan: what pip installs; with `--any-python` if the version of Python is refused.
        refused: words of the refusal; none if the file is accepted as it is.
        skipped: packages that the runtime replaces.
    """

    text: str
    plan: list[str]
    refused: list[str] = []
    skipped: list[str] = []


CASES = {
    "azureml-core, as its tutorials write it": Case(
        """
name: project_environment
dependencies:
- python=3.6.2
- pip:
  - azureml-defaults==1.0.85
- scikit-learn=0.20
channels: [anaconda, conda-forge]
""",
        ["scikit-learn==0.20.*"],
        ["'python=3.6.2': the scoring runtime needs Python 3.11 or newer", ANY],
        ["azureml-defaults"],
    ),
    "the Workbench of 2017": Case(
        """
dependencies:
  - python=3.5.2
  - ipykernel=4.6.1
  - pip:
    - --index-url https://azuremldownloads.azureedge.net/python-repository/preview
    - --extra-index-url https://pypi.python.org/simple
    - azureml-requirements
    - azure-ml-api-sdk==0.1.0a10
    - https://azuremldownloads.blob.core.windows.net/wheels/latest/azureml.assets-1.0.0-py3-none-any.whl?sig=SIGNATURE
    - dhash
""",
        ["ipykernel==4.6.1.*", "dhash"],
        ["'python=3.5.2': the scoring runtime needs Python 3.11 or newer", ANY],
        ["azureml-requirements:", "azure-ml-api-sdk", "https://azuremldownloads.blob.core.windows.net/wheels/latest/a"],
    ),
    "AutoML": Case(
        """
dependencies:
- python=3.7.9
- numpy>=1.16.0,<1.19.0
- scikit-learn==0.22.1
- py-xgboost<=0.90
- psutil>5.0.0,<6.0.0
- pip:
  - azureml-train-automl-runtime==1.41.0
  - inference-schema
channels: [anaconda, conda-forge, pytorch]
""",
        [
            *("numpy>=1.16.0,<1.19.0", "scikit-learn==0.22.1", "xgboost<=0.90", "psutil>5.0.0,<6.0.0"),
            "inference-schema",
        ],
        ["'python=3.7.9'", ANY, "py-xgboost<=0.90 (as xgboost)"],
        ["azureml-train-automl-runtime"],
    ),
    "online endpoints": Case(
        """
name: model-env
channels: [conda-forge]
dependencies:
  - python=3.8
  - numpy=1.21.2
  - pip=21.2.4
  - pip:
    - azureml-inference-server-http
    - mlflow==2.0.1
""",
        ["numpy==1.21.2.*", "azureml-inference-server-http", "mlflow==2.0.1"],
        ["'python=3.8'", ANY],
    ),
    "the CPU build of PyTorch": Case(
        """
channels: [pytorch, defaults]
dependencies: [python>=3.6, pytorch, torchvision, cpuonly]
""",
        ["torch", "torchvision"],
        ["'cpuonly' is a library or program that pip cannot install", "pytorch (as torch)", MOVE, "compute `docker`"],
    ),
    "the CUDA build of PyTorch": Case(
        """
channels: [pytorch, nvidia, conda-forge]
dependencies: [python=3.8, pytorch=1.12, pytorch-cuda=11.6, cudatoolkit=11.3, cudnn, pip, pip: [transformers]]
""",
        ["torch==1.12.*", "transformers"],
        ["'python=3.8'", "'pytorch-cuda=11.6'", "'cudatoolkit=11.3'", "'cudnn'", ANY, MOVE],
    ),
    "files beside it": Case(
        """
dependencies:
- python>=3.8
- pip
- pip: [-r base.txt, -e ./lib, ./dist/sent-1.0-py3-none-any.whl]
""",
        ["toolz", "./packages/1/lib.tar.gz", "./packages/2/sent-1.0-py3-none-any.whl"],
    ),
    "programs of the distribution": Case(
        """
channels: [defaults]
dependencies: [python>=3.7, opencv=4.5, libgcc-ng=9.1, openjdk=8, graphviz, r-base=4.0]
""",
        ["opencv-python-headless==4.5.*"],
        [
            "'libgcc-ng=9.1'",
            "'openjdk=8'",
            "'graphviz'",
            "'r-base=4.0'",
            "opencv=4.5 (as opencv-python-headless)",
            MOVE,
        ],
    ),
    "an exported environment": Case(
        """
name: base
channels: [defaults]
dependencies:
- _libgcc_mutex=0.1=main
- ca-certificates=2021.7.5=h06a4308_1
- openssl=1.1.1k=h27cfd23_0
- python=3.7.10=h12debd9_4
- scikit-learn=0.24.2=py37ha9443f7_0
- tk=8.6.10=hbc83047_0
prefix: /home/ann/base
""",
        ["scikit-learn==0.24.2"],
        ["'_libgcc_mutex=0.1=main'", "'python=3.7.10=h12debd9_4'", ANY, MOVE],
    ),
    "a channel of a company": Case(
        """
channels: [https://conda.example.com/own, conda-forge]
dependencies: [python, ourmodel=2.0]
""",
        ["ourmodel==2.0.*"],
        ["the channel 'https://conda.example.com/own' may have packages that are not on the public pip index", MOVE],
    ),
    "the SDK of 2017, from a mirror": Case(
        """
dependencies:
- python=3.5.2
- scikit-learn
- pip:
  - azureml.datacollector==0.1.0a13
  - https://mirror.example.com/azureml.logging-1.0.79-py3-none-any.whl
""",
        ["scikit-learn", "https://mirror.example.com/azureml.logging-1.0.79-py3-none-any.whl"],
        ["'python=3.5.2'", ANY],
        ["azureml.datacollector"],
    ),
    "nothing but pip packages": Case(
        """
dependencies:
- pip:
  - azureml-defaults>=1.0.45
  - azureml-contrib-services
  - pandas
""",
        ["azureml-defaults>=1.0.45", "azureml-contrib-services", "pandas"],
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text("def run(body):\n    return 1\n")
    (tmp_path / "base.txt").write_text("toolz\n")
    wheel(tmp_path / "dist", "sent", "1.0", "x")
    project(tmp_path / "lib", "ours", "x")
    return tmp_path


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refusals_name_all_problems_before_anything_is_sent(case: Case, folder: Path) -> None:
    (folder / "conda.yml").write_text(case.text)
    application = Application(driver="score.py", conda="conda.yml")
    if not case.refused:
        application.check("local", is_here=True)
        return
    with pytest.raises(UsageError) as caught:
        application.check("local", is_here=True)
    told = f"{caught.value} {caught.value.fix}"
    assert [words for words in case.refused if words not in told] == []
    assert (ANY in told, MOVE in told) == (ANY in case.refused, MOVE in case.refused)
    application.check("docker")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_plans(case: Case, folder: Path) -> None:
    (folder / "conda.yml").write_text(case.text)
    sent = rewritten(folder / "conda.yml", Bundle(), any_python=True) or case.text
    file = CondaFile.of(yaml.safe_load(sent))
    found, _, problems = pip_equivalents(file)
    assert bool(problems) == (MOVE in case.refused)
    wanted = [line for line in parse("\n".join([*found, *file.pip])) if isinstance(line, Requirement)]
    log = Log(folder / "log")
    assert [str(line) for line in without_superseded(wanted, log)] == case.plan
    assert "SIGNATURE" not in log.read()[1].decode()
    skipped = [line.partition("skipping ")[2] for line in log.read()[1].decode().splitlines()]
    assert [line.startswith(name) for line, name in zip(skipped, case.skipped, strict=True)] == [True] * len(skipped)


def test_indexes_of_the_sdk_that_no_longer_exist_are_left_out(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    gone = [
        "--index-url https://azuremldownloads.azureedge.net/preview",
        "--extra-index-url https://azuremlsdktestpypi.x/",
    ]
    here = ["--extra-index-url https://example.org/azuremldownloads.whl", "--pre"]
    options = [option for option in parse("\n".join([*gone, *here])) if isinstance(option, Option)]
    assert without_retired_indexes(options, log) == options[2:]
    assert log.read()[1].decode().count("this package index no longer exists") == 2


def test_releases_that_cannot_work_are_left_out_or_excluded(tmp_path: Path) -> None:
    old = ["inference-schema[numpy-support]==1.3.0", "azureml-inference-server-http~=0.7.0", "azureml-core==1.38.0"]
    free = ["inference-schema", "azureml-inference-server-http", "azureml-defaults>=1.0.45", "scipy"]
    wanted = [line for line in parse("\n".join([*old, *free])) if isinstance(line, Requirement)]
    kept = without_superseded(wanted, Log(tmp_path / "log"))
    assert [str(line) for line in kept] == free
    assert [str(line) for line in working_releases(kept)] == [
        "inference-schema>=1.7.1",
        "azureml-inference-server-http>=0.8",
        "azureml-defaults>=1.60",
    ]
    assert companions(wanted) == ["numpy"]
    assert companions(kept) == []


def test_companions() -> None:
    wanted = [
        line for line in parse("azure-ml-api-sdk==0.1.0a10\nazureml-core\nscipy") if isinstance(line, Requirement)
    ]
    assert companions(wanted) == ["numpy", "pandas"]
    assert companions(wanted[1:]) == []
