"""Values that commands return in addition to API resources."""

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
_STARTS = ("request ", "{", "[")  # starts of entries in a service log; lines of a traceback start differently


class Text(str):
    """Text that is displayed unchanged, such as a log."""

    __slots__ = ()


class ServiceLog(Text):
    """The log of a service, unchanged. Displays, but not pipes, format its JSON lines about requests for reading."""

    __slots__ = ()


class SecretText(Text):
    """Text with a secret. It can be used, but is not displayed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a secret: it can be used, and is not displayed>"


class LogStream:
    """A log that is followed. Iteration yields complete lines as they are written, until `stop` is called.

    Args:
        read: reads the log, starting at an offset.
        first: the first part.
        line: returns whether to show a line (default: show all lines).
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
    """Select the lines of a service log about a request, including its traceback. Call it with the lines in order.

    Args:
        request_id: id of the request.
    """

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._is_within = False

    def __call__(self, line: str) -> bool:
        """Return whether the next line is about the request."""
        if line.startswith(_STARTS):
            # A JSON line, or a line that was printed during a request, is an entry of its own.
            self._is_within = self._request_id in line and not line.startswith(("{", "["))
        return self._is_within or self._request_id in line


def chosen_lines(text: str, line: Callable[[str], bool] | None) -> str:
    """Return the selected lines of a text."""
    return text if line is None else "".join(part for part in text.splitlines(keepends=True) if line(part))


class Keys(msgspec.Struct, frozen=True, rename="camel"):
    """The keys of a service. `repr` and displays mask them unless they were requested with `--show`."""

    primary_key: str
    secondary_key: str
    shown: bool = False

    def visible(self) -> dict[str, str]:
        """Return the keys, masked unless they were requested unmasked."""
        return {"primaryKey": self.primary_key, "secondaryKey": self.secondary_key} if self.shown else self.masked()

    def masked(self) -> dict[str, str]:
        """Return the masked keys, each with its last characters."""
        return {"primaryKey": masked(self.primary_key), "secondaryKey": masked(self.secondary_key)}

    def __repr__(self) -> str:
        return f"Keys(primary_key={masked(self.primary_key)!r}, secondary_key={masked(self.secondary_key)!r})"


def masked(secret: str) -> str:
    """Return a mask for a secret. It ends in the last characters of a long secret, to tell secrets apart."""
    return "****" + (secret[-4:] if len(secret) > 12 else "")


@dataclass(frozen=True)
class Settings:
    """Settings or other properties as rows, such as each setting with its source."""

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
