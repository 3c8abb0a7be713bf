"""The official client of Kubernetes, an optional package that takes a second to import."""

from __future__ import annotations

import threading

__all__ = ["load_library"]

_lock = threading.Lock()


def load_library() -> None:
    """Import all of the client that is used here.

    One thread does this at a time: if several import its many modules in different orders, Python avoids a deadlock by
    letting one of them see a module that is not complete.

    Raises:
        ImportError: it is not installed.
    """
    with _lock:
        import requests  # noqa: F401 - before the client, which imports it last
        import urllib3  # noqa: F401
        from kubernetes import client, config, dynamic, stream  # noqa: F401
