"""`azureml.ai.monitoring`: the collector of Azure ML v2, on top of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from mlmgmt_nb.scoring.application.model_files import read_config
from mlmgmt_nb.scoring.collection.collector import ModelDataCollector
from mlmgmt_nb.scoring.context import request_id

__all__ = ["BasicCorrelationContext", "Collector", "CorrelationContext"]


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
