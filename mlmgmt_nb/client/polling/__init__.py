"""Waiting for operations: pollers for the user, and one background thread for each workspace that polls the server."""

from mlmgmt_nb.client.polling.poller import Poller
from mlmgmt_nb.client.polling.watched import WatchedOperation
from mlmgmt_nb.client.polling.watcher import Watcher

__all__ = ["Poller", "WatchedOperation", "Watcher"]
