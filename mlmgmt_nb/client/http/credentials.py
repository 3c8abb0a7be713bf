"""Sources of the bearer tokens of requests. No credential shows its token in `repr`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from mlmgmt_nb.client.http.forks import renew_after_fork
from mlmgmt_nb.errors import LocalServiceError, MlmgmtError, SignInError
from mlmgmt_nb.redaction import redact_chain

__all__ = ["AZURE_SCOPE", "AzureToken", "Credential", "StaticToken", "TokenCredential", "TokenFile"]

AZURE_SCOPE = "https://management.azure.com/.default"
"""The scope that is requested from an Azure credential."""

_SPARE_SECONDS = 300.0


class Credential(Protocol):
    """The source of the bearer token of each request; `source` names it in messages."""

    @property
    def source(self) -> str: ...

    def token(self) -> str | None:
        """Return the token, or None for a request without a token."""
        ...

    def renew(self, refused: str | None, claims: str | None) -> bool:
        """Return whether `token` returns another token now; called after the server refused one.

        Args:
            refused: the token.
            claims: the claims that the server requires of the next one, if it named any.
        """
        ...


class TokenCredential(Protocol):
    """The protocol `TokenCredential` of azure-core, as the objects of azure-identity implement it."""

    def get_token(self, *scopes: str) -> Any:
        """Return an object with `token` and `expires_on` (seconds since the epoch), for the given `scopes`."""
        ...


class StaticToken:
    """A token that does not change.

    Args:
        token: the token, or None for requests without one.
        source: the place where it was given, such as "the argument `token`".
    """

    def __init__(self, token: str | None, source: str) -> None:
        self._token = token
        self.source = source

    def token(self) -> str | None:
        return self._token

    def renew(self, refused: str | None, claims: str | None) -> bool:  # noqa: ARG002
        return False

    def __reduce__(self) -> tuple[Callable[..., Credential], tuple[object, ...]]:
        """Pickle the source of the token, not the token."""
        return (_unpickled, (self.source,)) if self._token is not None else (StaticToken, (None, self.source))


class MissingToken:
    """A placeholder for a token that is not in a pickle; raises an error when the token is needed.

    Args:
        source: the source of the token in the process that made the pickle.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def token(self) -> str | None:
        raise SignInError(
            f"the token came from {self.source}, and a pickled workspace contains no secrets",
            fix="Set MLMGMT_TOKEN where the workspace is unpickled, or call `connect` there.",
        )

    def renew(self, refused: str | None, claims: str | None) -> bool:  # noqa: ARG002
        return False


def _unpickled(source: str) -> Credential:
    """Return the placeholder for a credential whose secret is not in the pickle."""
    token = os.environ.get("MLMGMT_TOKEN")
    return StaticToken(token, "MLMGMT_TOKEN") if token else MissingToken(source)


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

    def renew(self, refused: str | None, claims: str | None) -> bool:  # noqa: ARG002
        return self.token() != refused


_OF_PARENTS: list[object] = []
"""Credentials that this process inherited by a fork. They are kept, because ending one may take locks that are held
forever."""


class AzureToken:
    """A token of an azure-core `TokenCredential`, kept until five minutes before it expires. Thread-safe.

    Args:
        credential: an object of azure-identity, or anything with its `get_token`; or a function
            that creates one when first needed, and again in a process that is forked afterwards.
        scope: the scope of the token.
        source: name for messages (default: the credential's type).
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        credential: TokenCredential | Callable[[], TokenCredential],
        scope: str = AZURE_SCOPE,
        source: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._given = credential
        self._credential = credential
        self._scope = scope
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[str, float] | None = None
        self.source = source or f"the credential {type(credential).__name__}"
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the session of a credential that this object created to the parent process, but keep its token."""
        self._lock = threading.Lock()
        _OF_PARENTS.append(self._credential)
        self._credential = self._given

    def __reduce__(self) -> tuple[Callable[..., Credential], tuple[object, ...]]:
        """Pickle the settings to sign in, if known; not the tokens."""
        if hasattr(self._given, "get_token"):
            return _unpickled, (self.source,)
        return AzureToken, (self._given, self._scope, self.source)

    def token(self) -> str | None:
        with self._lock:
            if self._kept is None or self._clock() >= self._kept[1] - _SPARE_SECONDS:
                self._kept = self._fresh()
            return self._kept[0]

    @property
    def expires_on(self) -> float | None:
        """The time when the cached token expires, in seconds since the epoch."""
        return self._kept[1] if self._kept else None

    def renew(self, refused: str | None, claims: str | None) -> bool:
        with self._lock:
            if self._kept is None or self._kept[0] == refused:  # otherwise another thread has renewed it
                self._kept = self._fresh({"claims": claims} if claims else {})
            return self._kept[0] != refused

    def _fresh(self, more: Mapping[str, Any] = MappingProxyType({})) -> tuple[str, float]:
        """Return a token of the credential, which may have it in a cache of its own.

        Raises:
            SignInError: the credential has none.
        """
        try:
            if not hasattr(self._credential, "get_token"):
                self._credential = self._credential()
            get_token: Callable[..., Any] = self._credential.get_token
            found = get_token(self._scope, **more)
        except MlmgmtError:
            raise
        except Exception as error:  # any error of a credential means that the token is missing
            redact_chain(error)
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise SignInError(
                f"could not get a token from {self.source}: {reason}",
                fix="Sign in with `mlmgmt login` (or `az login`), or give `token` or `credential`.",
            ) from error
        return found.token, float(found.expires_on)
