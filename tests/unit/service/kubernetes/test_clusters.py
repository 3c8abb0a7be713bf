"""The clusters of a settings file that changes while the service runs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlmgmt_nb.service import cluster_settings
from mlmgmt_nb.service.compute.computes import Computes
from mlmgmt_nb.service.compute.directory import ComputeDirectory
from mlmgmt_nb.service.compute.kubernetes.clusters import Clusters
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.reconciling.admission import ServiceAdmission

READ = cluster_settings.read_clusters


class Cluster:
    """In the place of a cluster: its settings."""

    def __init__(self, _: str, settings: Any) -> None:
        self.settings = settings

    def problem(self) -> None:
        return None

    def retire(self) -> None:
        pass


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


INGRESS = '[kubernetes]\nexpose = "ingress"\n[west]\nnamespace = "n"\n'


def directory_of(clusters: Clusters) -> Any:
    """Return the computes of a service without a database: without aliases."""
    nothing: Any = None
    computes = Computes({"local": nothing})

    class Directory(ComputeDirectory):
        def _aliases(self, *_: object) -> dict[str, str]:
            return {}

    store: Any = SimpleNamespace(reading=nullcontext)
    return Directory(store, computes, clusters, nothing, nothing)


@pytest.mark.parametrize(
    ("text", "names", "problem"),
    [
        (INGRESS, ["kubernetes", "west"], "[kubernetes]: expose = ingress needs host"),
        ('[kubernetes]\n[ "west" ]\n', ["kubernetes", "west"], "the same namespace of the same cluster"),
        ("[kubernetes]\n[west.pod-fields]\n[west\n[docker]\n", ["kubernetes", "west"], "not valid TOML"),
        ("[kubernetes", ["kubernetes"], "not valid TOML"),
        ("[Team_A]", ["kubernetes"], "'Team_A' cannot name a cluster"),
    ],
)
def test_a_damaged_file_makes_clusters_unavailable_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, names: list[str], problem: str
) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text(text)
    make: Any = Cluster
    clusters = Clusters(file, None, make)
    assert not clusters.current()
    assert list(clusters.unavailable()) == names
    directory = directory_of(clusters)
    listed = {each["id"]: (each["state"], each["reason"] or "") for each in directory.all_of("a")}
    assert listed.pop("local") == ("ready", "")
    assert {state for state, _ in listed.values()} == {"unavailable"}
    assert all(problem in reason for _, reason in listed.values())
    assert directory.choose(None, "a", "local", "$.x").id == "local"
    assert directory.has(names[0])
    with pytest.raises(Problem) as raised:
        directory.choose(None, "a", names[0], "$.x")
    assert raised.value.status == 409
    assert problem in str(raised.value)
    nothing: Any = None
    with pytest.raises(Problem) as raised:
        ServiceAdmission(Computes({}), clusters, nothing, nothing, nothing).check(nothing, nothing, names[0], "s")
    assert problem in str(raised.value)
    assert [problem in record.message for record in caplog.records] == [True], "logged once"
    file.write_text('[kubernetes]\nnamespace = "n"\n')
    assert list(clusters.current()) == ["kubernetes"]
    assert not clusters.unavailable()


def test_clusters_in_use_stay_when_the_file_is_damaged_later(tmp_path: Path) -> None:
    file = tmp_path / "clusters.toml"
    file.write_text("[kubernetes]\n")
    make: Any = Cluster
    clusters = Clusters(file, None, make)
    file.write_text(INGRESS)
    assert list(clusters.current()) == ["kubernetes"]
    assert list(clusters.unavailable()) == ["west"]


def test_a_corrected_file_that_the_damaged_one_names_is_read(tmp_path: Path) -> None:
    file, fields = tmp_path / "clusters.toml", tmp_path / "pod.yaml"
    file.write_text('[kubernetes]\npod-fields-file = "pod.yaml"\n')
    make: Any = Cluster
    clusters = Clusters(file, None, make)
    assert not clusters.current()
    fields.write_text("spec: {}\n")
    assert list(clusters.current()) == ["kubernetes"]
