"""Where the bearer token of a request comes from. No credential shows its token in `repr`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mlmgmt_nb.errors import LocalServiceError

__all__ = ["AZURE_SCOPE", "AzureToken", "Credential", "StaticToken", "TokenCredential", "TokenFile"]

AZURE_SCOPE = "https://management.azure.com/.default"
"""The scope that is asked of an Azure credential."""

_SPARE_SECONDS = 300.0


class Credential(Protocol):
    """Gives the bearer token of each request; `source` says where it comes from, for messages."""

    @property
    def source(self) -> str: ...

    def token(self) -> str | None:
        """The token, or None when the request goes without one."""
        ...


class TokenCredential(Protocol):
    """What azure-core calls a `TokenCredential`: any object of azure-identity."""

    def get_token(self, *scopes: str) -> Any:
        """An object with `token` and `expires_on` (seconds since the epoch)."""
        ...


class StaticToken:
    """A token that does not change.

    Args:
        token: the token, or None for requests without one.
        source: where it was given, such as "the argument `token`".
    """

    def __init__(self, token: str | None, source: str) -> None:
        self._token = token
        self.source = source

    def token(self) -> str | None:
        return self._token


class TokenFile:
    """The token in a file, read for each request so that a replaced file works at once.

    Args:
        path: the file; its content without surrounding blanks is the token.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.source = f"the file {path}"

    def token(self) -> str | None:
        try:
            return self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LocalServiceError(
                f"the service's token cannot be read from {self._path}: {error}",
                fix="The file belongs to the user who runs the service; connect as that user, or give `token`.",
            ) from error


class AzureToken:
    """A token of an azure-core `TokenCredential`, kept until five minutes before it expires. Thread-safe.

    Args:
        credential: an object of azure-identity, or anything with its `get_token`.
        scope: what the token is asked for.
        clock: seconds since the epoch.
    """

    def __init__(
        self, credential: TokenCredential, scope: str = AZURE_SCOPE, clock: Callable[[], float] = time.time
    ) -> None:
        self._credential = credential
        self._scope = scope
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[str, float] | None = None
        self.source = f"the credential {type(credential).__name__}"

    def token(self) -> str | None:
        with self._lock:
            if self._kept is None or self._clock() >= self._kept[1] - _SPARE_SECONDS:
                fresh = self._credential.get_token(self._scope)
                self._kept = (fresh.token, float(fresh.expires_on))
            return self._kept[0]
