"""Logging and telemetry of the Azure ML packages: relevant messages go to the service log, others are dropped."""

from __future__ import annotations

import logging
from typing import Any

__all__ = [
    "INSTRUMENTATION_KEY",
    "AzureMLLogger",
    "do_nothing",
    "get_azureml_logger",
    "get_logger",
    "get_telemetry_log_handler",
    "log_traceback",
    "set_verbosity",
]

INSTRUMENTATION_KEY = ""
"""The key of the telemetry resource; there is none."""


class AzureMLLogger:
    """The run logger of 2017, which writes each value as a line of the log."""

    def __init__(self) -> None:
        self._log = logging.getLogger("azureml")

    def log(self, name: str, value: Any = None, *_more: Any, **_named: Any) -> None:
        """Write a value to the log."""
        self._log.info("%s: %s", name, value)


def get_azureml_logger(*_arguments: Any, **_named: Any) -> AzureMLLogger:
    """Return a logger for values."""
    return AzureMLLogger()


def get_logger(name: str = "azureml", *_arguments: Any, **_named: Any) -> logging.Logger:
    """Return an ordinary logger."""
    return logging.getLogger(name)


def get_telemetry_log_handler(*_arguments: Any, **_named: Any) -> logging.Handler:
    """Return a handler that sends nothing."""
    return logging.NullHandler()


def log_traceback(exception: BaseException, logger: logging.Logger | None = None, *_more: Any, **_named: Any) -> None:
    """Write an exception to the log."""
    (logger or logging.getLogger("azureml")).error("%s", exception, exc_info=exception)


def set_verbosity(verbosity: int | str, *_more: Any, **_named: Any) -> None:
    """Set the level of the `azureml` loggers."""
    logging.getLogger("azureml").setLevel(verbosity)


def do_nothing(*_arguments: Any, **_named: Any) -> None:
    """Accept and ignore a configuration for Azure."""
