"""Names of the Azure ML SDK that drivers import but a model service does not support: workspaces, training, deployment.

`from azureml.core import Workspace` works; using the class raises an error with advice.
"""

from __future__ import annotations

from typing import Any, NoReturn

from mlmgmt_nb.scoring.errors import PicklableError

__all__ = ["NotAvailableError"]

_ADVICE = (
    "A model service has no Azure workspace. To find a model of the image, use AZUREML_MODEL_DIR or "
    "Model.get_model_path(NAME); settings come from environment variables; train, register and deploy in the notebook. "
    "Remove the call from the driver"
)


class NotAvailableError(PicklableError, NotImplementedError):
    """A driver used a part of the Azure ML SDK that is not available in a model service."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not available here. {_ADVICE}")


class _Unavailable(type):
    """The type of stand-ins: they can be imported, subclassed and compared, but not used."""

    def __call__(cls, *_arguments: Any, **_named: Any) -> NoReturn:
        raise NotAvailableError(cls.__name__)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):  # looked up by Python itself
            raise AttributeError(name)
        raise NotAvailableError(f"{cls.__name__}.{name}")


def __getattr__(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Unavailable(name, (), {"__module__": __name__})
