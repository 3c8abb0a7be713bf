"""Collected data of a service, as a DataFrame."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from mlmgmt_nb.client.http.transport import Transport

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_collected"]

_TIME, _TEXT = "$Timestamp", {"$CorrelationId": "string", "$RequestId": "string"}


def read_collected(transport: Transport, url: str, *, model: str | None, identifier: str | None) -> pd.DataFrame:
    """Return all rows that a service has collected, oldest first.

    Args:
        transport: sends the requests.
        url: URL of the service's data, as `Transport.send` takes it.
        model: name of the model (default: all models).
        identifier: identifier of the collector (default: all).

    Returns:
        A row for each collected row: `model` (its id, name and version), `identifier`, `$Timestamp` (UTC),
        `$CorrelationId`, `$RequestId`, and the columns that were collected.
    """
    import pandas as pd

    frames = []
    for file in transport.send("GET", url).json()["value"]:
        if not _is_of(file, model, identifier):
            continue
        text = transport.send("GET", url, query={"path": file["path"]}).content
        if not text:  # a replica has just created the file
            continue
        frame = pd.read_csv(io.BytesIO(text), dtype=_TEXT, keep_default_na=True)
        frame[_TIME] = pd.to_datetime(frame[_TIME], utc=True, format="ISO8601")  # full seconds have no fraction
        frame.insert(0, "model", file["model"])
        frame.insert(1, "identifier", file["identifier"])
        frames.append(frame)
    if not frames:
        columns = ["model", "identifier", _TIME, *_TEXT]
        return pd.DataFrame(columns=columns).astype({_TIME: "datetime64[us, UTC]", **_TEXT})
    return pd.concat(frames, ignore_index=True).sort_values(_TIME, ignore_index=True, kind="stable")


def _is_of(file: dict[str, Any], model: str | None, identifier: str | None) -> bool:
    # The folder's name is ID-NAME-VERSION, where the id is a UUID.
    is_model = model is None or file["model"][37:].rpartition("-")[0] == model
    return is_model and identifier in (None, file["identifier"])
