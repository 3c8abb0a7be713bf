"""The clusters of the settings file, which may change while the service runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mlmgmt_nb.service.cluster_settings import (
    ClusterSettings,
    ClusterSettingsError,
    fields_file,
    find_names,
    read_clusters,
)
from mlmgmt_nb.service.compute.declared.protocol import Cause

if TYPE_CHECKING:
    from mlmgmt_nb.service.compute.kubernetes.cluster import KubernetesCluster

__all__ = ["Clusters"]

log = logging.getLogger(__name__)

_USUAL_NAME = "kubernetes"
"""Name of the cluster in a damaged file in which no name can be read."""


class Clusters:
    """The clusters by name. While the file is damaged, those that were read from it before stay in use.

    Args:
        file: the settings; it may not exist.
        registry: the registry of clusters without a registry of their own.
        make: makes a cluster from its name and settings.
    """

    def __init__(
        self, file: Path, registry: str | None, make: Callable[[str, ClusterSettings], KubernetesCluster]
    ) -> None:
        self._file = file
        self._registry = registry
        self._make = make
        self._lock = threading.Lock()
        self._clusters: dict[str, KubernetesCluster] = {}
        self._damage: str | None = None
        self._stamp = self._current_stamp()  # before the file is read, as below
        self._read()

    def current(self) -> Mapping[str, KubernetesCluster]:
        """Return the clusters as they are configured now. A file that is damaged changes nothing."""
        with self._lock:
            self._refresh()
            return self._clusters

    def retire(self) -> None:
        """Begin to stop all clusters for good, and return immediately: the service is being stopped."""
        with self._lock:
            for cluster in self._clusters.values():
                cluster.retire()

    def unavailable(self) -> Mapping[str, Cause]:
        """Return why clusters that a damaged file names, and that are not in use, are not available."""
        with self._lock:
            self._refresh()
            if self._damage is None:
                return {}
            cause = Cause("BadClusterSettings", self._damage)
            names = find_names(self._file) or ([] if self._clusters else [_USUAL_NAME])
            return {name: cause for name in names if name not in self._clusters}

    def _refresh(self) -> None:
        stamp = self._current_stamp()
        # A damaged file is read again and again: the stamp lacks files that only it names.
        if stamp != self._stamp or self._damage is not None:
            # Taken before the file is read, so that the next call sees changes that are made meanwhile.
            self._stamp = stamp
            self._read()

    def _read(self) -> None:
        try:
            self._update(read_clusters(self._file))
        except ClusterSettingsError as error:
            if str(error) != self._damage:
                log.error("%s", error)
            self._damage = str(error)
        else:
            self._damage = None

    def _current_stamp(self) -> list[tuple[int, int] | None]:
        """Return a value that changes when the settings or a file that they name may have changed."""
        named = [cluster.settings.pod_fields_file for cluster in self._clusters.values()]
        return [_stamp(self._file), *(_stamp(fields_file(self._file, each)) for each in named if each)]

    def _update(self, found: Mapping[str, ClusterSettings]) -> None:
        clusters = {}
        for name, settings in found.items():
            whole = msgspec.structs.replace(settings, registry=settings.registry or self._registry)
            known = self._clusters.get(name)
            try:
                clusters[name] = known if known and known.settings == whole else self._make(name, whole)
            except ClusterSettingsError as error:
                raise ClusterSettingsError(f"{self._file}: [{name}]: {error}") from error
        before, self._clusters = self._clusters, clusters
        for name, cluster in before.items():
            if clusters.get(name) is not cluster:
                cluster.retire()


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
