"""Names of the Azure ML SDK that drivers import and a model service has no use for: workspaces, training, deployment.

`from azureml.core import Workspace` works; using what was imported raises, with what to do instead.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["NotAvailableError"]

_ADVICE = (
    "A model service has no Azure workspace. A model of the image is found by AZUREML_MODEL_DIR or "
    "Model.get_model_path(NAME); settings come from environment variables; train, register and deploy in the notebook. "
    "Remove the call from the driver"
)


class NotAvailableError(NotImplementedError):
    """Something of the Azure ML SDK was used that a model service does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not available here. {_ADVICE}")


class _Unavailable(type):
    """The type of stand-ins: they can be imported, subclassed and compared, but not used."""

    def __call__(cls, *_arguments: Any, **_named: Any) -> NoReturn:
        raise NotAvailableError(cls.__name__)

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):  # Python itself asks
            raise AttributeError(name)
        raise NotAvailableError(f"{cls.__name__}.{name}")


def __getattr__(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Unavailable(name, (), {"__module__": __name__})
