"""Data collection: inputs and answers of a model, stored as CSV.

Rows go to `modeldata/<subscription>/<group>/<account>/<service>/<model>/<identifier>/<yyyy>/<mm>/<dd>/data.csv`
(`<model>` is its id, name and version, joined by `-`) below `AML_MODEL_DC_STORAGE`: a folder, an fsspec URL, or the
connection string of an Azure storage account.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlmgmt_nb.scoring.application.model_files import read_config, recorded_model
from mlmgmt_nb.scoring.collection.writer import Record, shared_writer
from mlmgmt_nb.scoring.context import request_id

__all__ = ["ModelDataCollector", "rows_of"]

_LEADING = ["$Timestamp", "$CorrelationId", "$RequestId"]
_NO_REQUEST = "00000000-0000-0000-0000-000000000000"


class ModelDataCollector:
    """A collector of rows for one model under one name.

    Collection is enabled by `AML_MODEL_DC_STORAGE_ENABLED=true` in the environment; otherwise `collect` does nothing.

    Args:
        model_name: the model's name, or the name of its file; its id and version are looked up in
            `model_config_map.json`.
        identifier: the name of the collected data, such as `inputs`.
        feature_names: names of the columns, for lists and arrays.
        model_management_account_id: `subscription/group/account`, if `model_config_map.json` has no account.
        webservice_name: the service, if `SERVICE_NAME` is not set.
        model_id: the id of the model, if `model_config_map.json` has none.
        model_version: the version of the model, if `model_config_map.json` has none.
    """

    def __init__(
        self,
        model_name: str,
        identifier: str = "default",
        feature_names: Sequence[str] | None = None,
        model_management_account_id: str = "unknown",
        webservice_name: str = "unknown",
        model_id: str = "unknown",
        model_version: str = "unknown",
    ) -> None:
        self._feature_names = list(feature_names) if feature_names is not None else None
        self._enabled = os.environ.get("AML_MODEL_DC_STORAGE_ENABLED", "").lower() == "true"
        self._debug = os.environ.get("AML_MODEL_DC_DEBUG", "").lower() == "true"
        if not self._enabled:
            return
        config = read_config(Path())
        name, model = recorded_model(config, model_name)
        account = config.get("accountContext") or config.get("account") or {}
        parts = [account.get(key, "") for key in ("subscriptionId", "resourceGroupName", "accountName")]
        account_id = "/".join(parts) if all(parts) else model_management_account_id
        service = os.environ.get("SERVICE_NAME", webservice_name)
        number = f"{model.get('id', model_id)}-{name}-{model.get('version', model_version)}"
        self._folder = f"modeldata/{account_id}/{service}/{number}/{identifier}"
        storage = os.environ.get("AML_MODEL_DC_STORAGE")
        if not storage:
            warnings.warn("data collection is on, but AML_MODEL_DC_STORAGE is not set", stacklevel=2)
            self._enabled = False
            return
        self._writer = shared_writer(storage)

    @property
    def is_on(self) -> bool:
        """Return whether collected rows are stored or printed."""
        return self._enabled or self._debug

    def collect(self, input_data: Any, user_correlation_id: str = "") -> None:
        """Collect rows; another thread writes them within seconds.

        Args:
            input_data: a DataFrame, an array of one or two dimensions, or a list (one row); not modified.
            user_correlation_id: an id of the caller, stored with each row.
        """
        if not self.is_on:
            return
        taken = rows_of(input_data, self._feature_names)
        if taken is None:
            kind = type(input_data).__name__
            message = f"collect() takes a DataFrame, an array or a list, not {kind}. Nothing was collected"
            warnings.warn(message, stacklevel=2)
            return
        columns, rows = taken
        now = datetime.now(UTC)
        moment = now.replace(tzinfo=None).isoformat(timespec="microseconds")
        leading = [moment, user_correlation_id, request_id.get() or _NO_REQUEST]
        if self._debug:
            print(*[*_LEADING, *columns], sep=",")  # noqa: T201 - the purpose of AML_MODEL_DC_DEBUG
            for row in rows:
                print(*[*leading, *row], sep=",")  # noqa: T201
        if self._enabled:
            path = f"{self._folder}/{now:%Y/%m/%d}"
            self._writer.put(Record(path, [*_LEADING, *columns], leading, rows))


def rows_of(data: Any, names: list[str] | None) -> tuple[list[str], list[list[Any]]] | None:
    """Return the column names and a copy of the rows; None for other kinds of data."""
    if isinstance(data, list):
        return names or _numbers(len(data)), [list(data)]
    if hasattr(data, "toPandas"):
        data = data.toPandas()
    if hasattr(data, "iloc") and hasattr(data, "to_frame"):  # a Series: one column
        data = data.to_frame()
    if hasattr(data, "iloc"):
        return [str(name) for name in data.columns], data.to_numpy(dtype=object).tolist()
    if hasattr(data, "tolist") and getattr(data, "ndim", 0) in (1, 2):
        rows = data.tolist() if data.ndim == 2 else [data.tolist()]
        return names or _numbers(len(rows[0]) if rows else 0), rows
    return None


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]
