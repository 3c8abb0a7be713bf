"""Computes of the service, and their aliases: extensions of the API of 2017."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import islice
from urllib.parse import quote

from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.errors import MlmgmtError, NotFoundError, UsageError

__all__ = ["ComputeList", "Computes"]

_MOST_MODULES = 100
_COMMON = frozenset({"local", "docker"})
"""Computes of each server of mlmgmt-nb, which reports whether `docker` is available."""


class ComputeList(list[dict[str, str | None]]):
    """The computes of a service, each with its `id`; an alias has `aliasOf`. Displayed as a table."""


class Computes:
    """The computes that images are built for and services run on.

    Args:
        transport: sends the requests.
        interpreter: Python of drivers, if the service is on this machine.
    """

    def __init__(self, transport: Transport, interpreter: str | None = None) -> None:
        self._transport = transport
        self._interpreter = interpreter

    def list(self) -> ComputeList:
        """Return the computes of the service.

        Raises:
            NotFoundError: the server does not list its computes.
        """
        return ComputeList(self._transport.send("GET", "/computes").json()["value"])

    def check(self, compute: str) -> None:
        """Check that a name is that of a compute or an alias. Resource ids of 2017 are left to the server.

        Raises:
            UsageError: it is neither.
        """
        if compute in _COMMON or compute.startswith("/"):
            return
        try:
            known = {each["id"] or "" for each in self.list()}
        except NotFoundError:  # a server of another kind, which does not list its computes
            return
        if compute not in known:
            raise UsageError(
                f"compute_resource_id: compute {compute!r} is not known to this service",
                field="compute_resource_id",
                fix=f"Use one of {', '.join(sorted(known))}.",
            )

    def prepare(self, compute: str, service: str, modules: Iterable[str]) -> None:
        """Let an embedded service import modules for the driver of a service that is about to be created.

        Failures are ignored: the service then imports them later.
        """
        if compute != "local" or self._interpreter is None:
            return
        names = ",".join(islice(modules, _MOST_MODULES))
        query = {"serviceName": service, "modules": names, "pythonInterpreter": self._interpreter}
        with contextlib.suppress(MlmgmtError):
            self._transport.send("POST", "/computes/local/prepare", query=query)

    def set_alias(self, name: str, compute: str) -> None:
        """Give a compute another name."""
        self._transport.send("PUT", f"/computes/{quote(name, safe='')}", query={"computeId": compute})

    def remove_alias(self, name: str) -> bool:
        """Remove an alias. Return False if there was none."""
        return self._transport.send("DELETE", f"/computes/{quote(name, safe='')}").status_code != 204
