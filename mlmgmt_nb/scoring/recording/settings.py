"""The settings of a recording, which the service passes in variables."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mlmgmt_nb.scoring.recording.recorder import Recorder
from mlmgmt_nb.scoring.recording.redaction import Redactor
from mlmgmt_nb.scoring.recording.ring import Ring
from mlmgmt_nb.scoring.recording.stored_ring import StoredRing

__all__ = ["FOLDER", "SETTINGS", "STORAGE", "RecordingSettings", "start_recorder"]

SETTINGS = "SCORING_RECORDING"
"""The variable with the settings, as JSON. Without it, nothing is recorded."""
FOLDER = "SCORING_RECORDING_FOLDER"
"""The variable with the folder: an existing folder, or a folder below the storage."""
STORAGE = "SCORING_RECORDING_STORAGE"
"""The variable with the storage, if it is not a folder: an fsspec URL, or the connection string of an Azure account."""


class RecordingSettings(msgspec.Struct, rename="camel"):
    """The settings.

    Attributes:
        deployment_id: the deployment that answers.
        sample: share of the requests, from 0 to 1.
        redact: names of fields whose values are replaced.
        max_age_seconds: older requests are removed.
        max_bytes: size of all files of the service; the oldest requests are removed.
    """

    deployment_id: str
    sample: float = 1.0
    redact: list[str] = []
    max_age_seconds: float = 7 * 86400.0
    max_bytes: int = 100_000_000


def start_recorder(environment: Mapping[str, str]) -> Recorder | None:
    """Start a recorder; return None for services that record nothing."""
    if not environment.get(SETTINGS) or not environment.get(FOLDER):
        return None
    settings = msgspec.json.decode(environment[SETTINGS], type=RecordingSettings)
    limits = settings.deployment_id, settings.max_bytes, settings.max_age_seconds
    folder, storage = environment[FOLDER], environment.get(STORAGE)
    ring = StoredRing(storage, folder, *limits) if storage else Ring(folder, *limits)
    return Recorder(ring, settings.sample, Redactor(settings.redact) if settings.redact else None)
