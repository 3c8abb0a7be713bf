"""The version guard: differences between this kernel and the versions that a model was packaged with."""

from __future__ import annotations

import warnings

from mlmgmt_nb.contract import Manifest

__all__ = ["version_difference", "warn_of_versions"]


def version_difference(manifest: Manifest | None) -> str | None:
    """Return the difference in one line; None if there is none, or if the manifest has no record of a kernel."""
    recorded = manifest.target_runtime.properties if manifest is not None else {}
    if "kernelVersions" not in recorded:  # avoid importing `packaging`, which is slow
        return None
    from mlmgmt_nb.packaging.versions import difference

    return difference(recorded)


def warn_of_versions(manifest: Manifest | None) -> None:
    """Warn about the difference in one line."""
    if line := version_difference(manifest):
        warnings.warn(line, stacklevel=2)
