"""Waiting for operations: pollers for the user, and one background thread for each workspace that polls the server."""

from mlmgmt_nb.client.polling.poller import Poller, WatchedOperation, Watcher

__all__ = ["Poller", "WatchedOperation", "Watcher"]
