"""The collectors of `azureml.monitoring` and of `azureml.ai.monitoring` (v2), on top of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from mlmgmt_nb.scoring.application.model_files import read_config
from mlmgmt_nb.scoring.collection.collector import ModelDataCollector, rows_of
from mlmgmt_nb.scoring.context import request_id

__all__ = ["BasicCorrelationContext", "Collector", "CorrelationContext", "DesignatedCollector"]

_CORRELATION_ID, _REQUEST_ID = "$aml_dc_correlation_id", "$aml_request_id"


class DesignatedCollector:
    """The `ModelDataCollector` of `azureml.monitoring`.

    Args:
        model_name: the name of the model.
        designation: the name of the collected data, such as `inputs`.
        feature_names: names of the columns, for lists and arrays.
        workspace: `subscription/group/account`, if `model_config_map.json` has no account.
        webservice_name: the service, if `SERVICE_NAME` is not set.
        model_version: the version of the model, if `model_config_map.json` has none.
        collection_name: a second name of the data, for designations that have no file of their own.
        identifier: the name of `designation` before 2019.
    """

    def __init__(
        self,
        model_name: str,
        designation: str = "default",
        feature_names: Sequence[str] | None = None,
        workspace: str = "unknown",
        webservice_name: str = "unknown",
        model_version: str = "unknown",
        collection_name: str = "default",
        identifier: str | None = None,
    ) -> None:
        name = identifier or designation
        self._is_input = name == "inputs"
        self._names = list(feature_names) if feature_names is not None else None
        if name in ("default", "general", "signals") and collection_name != "default":
            name = f"{name}-{collection_name}"
        self._collector = ModelDataCollector(
            model_name, name, feature_names, workspace, webservice_name, model_version=str(model_version)
        )

    def collect(self, input_data: Any, user_correlation_id: Any = "") -> dict[str, str] | None:
        """Collect rows.

        Args:
            input_data: a DataFrame, an array, or a list (one row).
            user_correlation_id: an id of the caller, or the result of an earlier call.

        Returns:
            The ids to add to other data of the same request, for `inputs`; None if collection is off.
        """
        if not self._collector.is_on:
            return None
        if isinstance(user_correlation_id, Mapping):
            user_correlation_id = user_correlation_id.get(_CORRELATION_ID)
        correlation = str(user_correlation_id or (uuid4() if self._is_input else ""))
        self._collector.collect(input_data, correlation)
        return {_CORRELATION_ID: correlation, _REQUEST_ID: request_id.get()} if self._is_input else None

    def add_correlations(self, input_data: Any, correlations: Mapping[str, str] | None) -> Any:
        """Return the data with the ids that `collect` returned as further columns; unchanged without ids."""
        taken = correlations and rows_of(input_data, self._names)
        if not correlations or not taken:
            return input_data
        import pandas as pd

        columns, rows = taken
        return pd.DataFrame(rows, columns=columns).assign(**correlations)


class CorrelationContext:
    """The context that correlates the data collected for one request.

    Args:
        id: the id of the request.
        headers: not used.
    """

    def __init__(self, id: str | None = None, headers: Any = None) -> None:  # noqa: A002 - its name in the SDK
        self.id = id or request_id.get() or str(uuid4())
        self.headers = headers or {}

    def get_id(self) -> str:
        """Return the id."""
        return self.id

    def get_headers(self) -> Any:
        """Return the headers."""
        return self.headers


BasicCorrelationContext = CorrelationContext


class Collector:
    """A collector of DataFrames under one name, for the first model of the image.

    Args:
        name: the name of the collected data, such as `model_inputs`.
        on_error: called with exceptions; without it, they are raised.
    """

    def __init__(self, *, name: str, on_error: Callable[[Exception], Any] | None = None, **_more: Any) -> None:
        self._on_error = on_error
        model = next(iter(read_config(Path()).get("models", {})), "unknown")
        self._collector = ModelDataCollector(model, identifier=name)

    def collect(self, data: Any, correlation_context: CorrelationContext | None = None) -> CorrelationContext:
        """Collect the rows of a DataFrame.

        Returns:
            The context, for further data of the same request.
        """
        context = correlation_context or CorrelationContext()
        try:
            if not hasattr(data, "iloc"):
                raise TypeError(f"collect() takes a pandas DataFrame, not {type(data).__name__}")
            self._collector.collect(data, user_correlation_id=context.id)
        except Exception as error:
            if self._on_error is None:
                raise
            self._on_error(error)
        return context
