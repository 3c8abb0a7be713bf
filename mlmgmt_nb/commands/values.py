"""Values that commands return, besides the API's own resources."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from mlmgmt_nb.client import LogPart, Workspace
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.contract import ServiceResponse

__all__ = [
    "DeployForm",
    "Keys",
    "LogStream",
    "RequestLogFilter",
    "SecretText",
    "ServiceConsole",
    "ServiceLog",
    "ServiceTryout",
    "Settings",
    "Text",
    "chosen_lines",
]

_FOLLOW_SECONDS = 0.5
_STARTS = ("request ", "{", "[")  # of an entry of a service's log; the lines of a traceback start otherwise


class Text(str):
    """Text that is shown as it is, such as a log."""

    __slots__ = ()


class ServiceLog(Text):
    """The log of a service as it was written. Displays, but not pipes, show lines of JSON about requests readable."""

    __slots__ = ()


class SecretText(Text):
    """Text with a secret: to be used, and shown by no display."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a secret: it can be used, and is not displayed>"


class LogStream:
    """A followed log: iterating yields its whole lines as they are written, without end.

    Args:
        read: reads the log from an offset on.
        first: the part to begin with.
        line: returns whether to show a line; all lines if None.
    """

    def __init__(
        self, read: Callable[[int], LogPart], first: LogPart, line: Callable[[str], bool] | None = None
    ) -> None:
        self._read = read
        self._first = first
        self._line = line
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[str]:
        part, rest = self._first, ""
        while True:
            written = rest + part.text
            whole = written[: written.rfind("\n") + 1]
            rest = written[len(whole) :]
            text = chosen_lines(whole, self._line)
            if text:
                yield text
            if self._stopped.wait(_FOLLOW_SECONDS):
                return
            with passive():
                part = self._read(part.next_offset)

    def stop(self) -> None:
        """End the iteration."""
        self._stopped.set()


class RequestLogFilter:
    """Select the lines of a service's log about a request, with its traceback. Called with the lines in order.

    Args:
        request_id: of the request.
    """

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._is_within = False

    def __call__(self, line: str) -> bool:
        """Return whether the next line is about the request."""
        if line.startswith(_STARTS):
            # A line of JSON, or one that was printed for a request, is an entry by itself.
            self._is_within = self._request_id in line and not line.startswith(("{", "["))
        return self._is_within or self._request_id in line


def chosen_lines(text: str, line: Callable[[str], bool] | None) -> str:
    """Return the selected lines of a text."""
    return text if line is None else "".join(part for part in text.splitlines(keepends=True) if line(part))


class Keys(msgspec.Struct, frozen=True, rename="camel"):
    """The keys of a service. `repr` and displays mask them; what `--show` prints is the only exception."""

    primary_key: str
    secondary_key: str
    shown: bool = False

    def visible(self) -> dict[str, str]:
        """Return the keys, masked unless they were requested unmasked."""
        return {"primaryKey": self.primary_key, "secondaryKey": self.secondary_key} if self.shown else self.masked()

    def masked(self) -> dict[str, str]:
        """Return the keys, each by its end."""
        return {"primaryKey": masked(self.primary_key), "secondaryKey": masked(self.secondary_key)}

    def __repr__(self) -> str:
        return f"Keys(primary_key={masked(self.primary_key)!r}, secondary_key={masked(self.secondary_key)!r})"


def masked(secret: str) -> str:
    """Return the last characters of a secret, which distinguish it from others."""
    return "****" + (secret[-4:] if len(secret) > 12 else "")


@dataclass(frozen=True)
class Settings:
    """The settings with their sources, one a row."""

    rows: tuple[Mapping[str, str | None], ...]


@dataclass(frozen=True)
class ServiceConsole:
    """A request for the panel of a service, which the notebook creates."""

    workspace: Workspace
    service: ServiceResponse


class ServiceTryout(ServiceConsole):
    """A request for the form that tries a service."""


@dataclass(frozen=True)
class DeployForm:
    """A request for the deployment form, which the notebook creates. `fields` has its initial values."""

    workspace: Workspace
    models: list[str]
    fields: Mapping[str, Any]
