"""The notebook about clusters: it runs on one, shows what is committed, and leaves nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlmgmt_nb import connect, local
from tests.acceptance.test_notebooks import KUBERNETES, NOTEBOOKS, notebook_environment, run_and_check
from tests.support.kubernetes import ClusterProcess
from tests.support.searches import long_search
from tests.support.waiting import eventually


@long_search
@pytest.mark.timeout(600)
def test_the_notebook(cluster: ClusterProcess, base: Path, tmp_path: Path) -> None:
    home, clusters, folder = tmp_path / "home", tmp_path / "clusters.toml", tmp_path / "notebooks"
    clusters.write_text(cluster.settings("default"))
    folder.mkdir()
    ours = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "MLMGMT_BASE_IMAGE": str(base),
        "MLMGMT_CLUSTERS": str(clusters),
        "MLMGMT_CONFIG": str(tmp_path / "config.toml"),
        "MLMGMT_HOME": str(home),
        "MLMGMT_IMAGE_BUILDER": "daemonless",
    }
    notebooks = [notebook for notebook in NOTEBOOKS if notebook.stem == KUBERNETES]
    try:
        environment = notebook_environment(tmp_path, ours)
        run_and_check(notebooks, folder, environment, lambda: list(connect(home=home).services.list()))
        path = "/apis/apps/v1/namespaces/default/deployments"
        label = {"labelSelector": "app.kubernetes.io/name=curve"}
        eventually(lambda: not cluster.api("GET", path, **label)["items"], 60, "the end of what it made")
    finally:
        local.stop(home)
