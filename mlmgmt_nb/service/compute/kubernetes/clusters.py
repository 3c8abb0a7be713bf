"""The clusters of the settings file, which may change while the service runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.cluster_settings import ClusterSettings, ClusterSettingsError, fields_file, read_clusters

if TYPE_CHECKING:
    from mlmgmt_nb.service.compute.kubernetes.cluster import KubernetesCluster

__all__ = ["Clusters"]

log = logging.getLogger(__name__)


class Clusters:
    """The clusters by name.

    Args:
        file: the settings; it may not exist.
        registry: the registry of clusters without a registry of their own.
        make: makes a cluster from its name and settings.

    Raises:
        LocalServiceError: the file is not valid.
    """

    def __init__(
        self, file: Path, registry: str | None, make: Callable[[str, ClusterSettings], KubernetesCluster]
    ) -> None:
        self._file = file
        self._registry = registry
        self._make = make
        self._lock = threading.Lock()
        self._clusters: dict[str, KubernetesCluster] = {}
        self._stamp = self._current_stamp()  # before the file is read, as below
        try:
            self._update(read_clusters(file))
        except ClusterSettingsError as error:
            raise LocalServiceError(str(error), fix="Correct that file (docs: guides/kubernetes.md).") from error

    def current(self) -> Mapping[str, KubernetesCluster]:
        """Return the clusters as they are configured now. A file that is damaged changes nothing."""
        with self._lock:
            stamp = self._current_stamp()
            if stamp != self._stamp:
                # Taken before the file is read, so that the next call sees changes that are made meanwhile.
                self._stamp = stamp
                try:
                    self._update(read_clusters(self._file))
                except ClusterSettingsError as error:
                    log.error("%s", error)
            return self._clusters

    def _current_stamp(self) -> list[tuple[int, int] | None]:
        """Return a value that changes when the settings or a file that they name may have changed."""
        named = [cluster.settings.pod_fields_file for cluster in self._clusters.values()]
        return [_stamp(self._file), *(_stamp(fields_file(self._file, each)) for each in named if each)]

    def _update(self, found: Mapping[str, ClusterSettings]) -> None:
        clusters = {}
        for name, settings in found.items():
            whole = msgspec.structs.replace(settings, registry=settings.registry or self._registry)
            before = self._clusters.get(name)
            try:
                clusters[name] = before if before and before.settings == whole else self._make(name, whole)
            except ClusterSettingsError as error:
                raise ClusterSettingsError(f"{self._file}: [{name}]: {error}") from error
        for name, cluster in self._clusters.items():
            if clusters.get(name) is not cluster:
                cluster.retire()
        self._clusters = clusters


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
