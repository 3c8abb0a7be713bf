"""The clusters of a settings file that changes while the service runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.service import cluster_settings
from mlmgmt_nb.service.compute.kubernetes.clusters import Clusters

READ = cluster_settings.read_clusters


class Cluster:
    """In the place of a cluster: its settings."""

    def __init__(self, _: str, settings: Any) -> None:
        self.settings = settings


@pytest.mark.parametrize("reads", [1, 2], ids=["at the start", "later"])
def test_a_change_while_the_file_is_read_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text("")
    left = reads

    def read_and_change(path: Path) -> Any:
        nonlocal left
        found = READ(path)
        left -= 1
        if left == 0:
            file.write_text('[small]\nnamespace = "n"\n')
        return found

    monkeypatch.setattr("mlmgmt_nb.service.compute.kubernetes.clusters.read_clusters", read_and_change)
    make: Any = Cluster
    clusters = Clusters(file, None, make)
    if reads > 1:
        file.write_text("# another")
        assert not clusters.current()
    assert set(clusters.current()) == {"small"}
