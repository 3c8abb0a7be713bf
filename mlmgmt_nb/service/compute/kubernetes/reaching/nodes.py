"""The node at which node ports are reached: found by trying, and given up when it no longer responds."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from mlmgmt_nb.service.compute.kubernetes.api.connection import ClusterError, Connection

__all__ = ["NodeAddress", "responds_at"]

Object = dict[str, Any]

_TRY_SECONDS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds until addresses of nodes are tried again; the pause doubles each time."""
_CHECK_SECONDS, _RECHECK_SECONDS = 5.0, 1.0
"""Seconds between checks of the address in use, and after one that failed."""
_FAILURES = 2
"""Number of failed checks in a row after which an address is given up."""
_CHECKS, _SEARCHES = 6, 2
"""Number of requests to an address in a check and in a search. A single one says little, because a node forwards it to
any pod of the service, also to one on a lost node."""
_AT_ONCE = 20
_MOST_NODES = 3
_ADDRESSES = ("ExternalIP", "InternalIP", "Hostname")


class NodeAddress:
    """An address at which node ports respond.

    Args:
        given: the address from the settings, which is never tried.
    """

    def __init__(self, connection: Connection, given: str | None) -> None:
        self._connection = connection
        self._given = given
        self._found: str | None = None
        self._pause, self._try_at = _FIRST_PAUSE, float("-inf")
        self._failures, self._check_at = 0, float("-inf")
        self._turn = itertools.count()

    @property
    def known(self) -> str | None:
        """Return the address of the settings, or else the one that was found; None while there is none."""
        return self._given or self._found

    def find(self, port: int) -> str | None:
        """Return the address; look for one if none is known. Addresses that do not respond are tried again later."""
        if self.known is None and time.monotonic() >= self._try_at:
            self._search([port])
        return self.known

    def check(self, ports: Sequence[int]) -> None:
        """Look for another address if the one that was found no longer responds.

        Args:
            ports: the node ports of services with ready pods.
        """
        if self._found is None or not ports or time.monotonic() < self._check_at:
            return
        # Another service comes first each time, because the pods of a service may have a problem of their own.
        start = next(self._turn) % len(ports)
        tried = list(itertools.islice(itertools.cycle([*ports[start:], *ports[:start]]), _CHECKS))
        if responds_at(self._found, tried[0]) or _responding([self._found], tried[1:]):
            self._failures, self._check_at = 0, time.monotonic() + _CHECK_SECONDS
            return
        self._failures += 1
        self._check_at = time.monotonic() + _RECHECK_SECONDS
        if self._failures >= _FAILURES:
            self._failures, self._pause = 0, _FIRST_PAUSE
            self._search(tried)

    def _search(self, ports: Sequence[int]) -> None:
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        candidates = list(dict.fromkeys(self._candidates()))
        responding = _responding(candidates, list(itertools.islice(itertools.cycle(ports), _SEARCHES)))
        self._found = next((one for one in candidates if one in responding), None)
        self._try_at = time.monotonic() + self._pause

    def _candidates(self) -> Iterable[str]:
        """Yield addresses of nodes, and the address of the API server, which small clusters run on their node."""
        yield urlsplit(self._connection.server).hostname or ""
        try:
            nodes: Sequence[Object] = self._connection.request("GET", "/api/v1/nodes")["items"] or ()
        except ClusterError:  # not everybody may see nodes
            return
        for node in sorted(nodes, key=lambda node: not _is_ready(node))[:_MOST_NODES]:
            for kind in _ADDRESSES:
                yield from (each["address"] for each in node["status"].get("addresses", []) if each["type"] == kind)


def responds_at(host: str, port: int) -> bool:
    """Return whether a replica responds at an address."""
    try:
        with socket.create_connection((host, port), _TRY_SECONDS) as connection:
            connection.settimeout(_TRY_SECONDS)
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(12).startswith(b"HTTP/1.1 200")
    except (OSError, UnicodeError):
        return False


def _responding(hosts: Iterable[str], ports: Sequence[int]) -> Collection[str]:
    """Return the hosts that respond at one of the ports. All are tried at once, because each may take a second."""
    pairs = list(itertools.product(hosts, ports))
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="nodes") as pool:
        answers = list(pool.map(lambda pair: responds_at(*pair), pairs))
    return {host for (host, _), is_answer in zip(pairs, answers, strict=True) if is_answer}


def _is_ready(node: Object) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
