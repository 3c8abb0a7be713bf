"""Services: create, update, get, list, delete; their keys, logs and metrics; and scoring with them."""

from mlmgmt_nb.client.services.services import Services

__all__ = ["Services"]
