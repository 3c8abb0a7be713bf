"""The guard: authenticates and authorizes requests."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from mlmgmt_nb.service.access.issuer_settings import IssuerSettings
from mlmgmt_nb.service.access.permissions import NEEDED
from mlmgmt_nb.service.access.principals import (
    DEFAULT_GRANTS,
    EVERY_ACCOUNT,
    OWNER,
    Grant,
    Principal,
    principal_of,
)
from mlmgmt_nb.service.access.token_errors import NoKeysError, TokenError
from mlmgmt_nb.service.http.messages import Request
from mlmgmt_nb.service.http.problems import Problem

if TYPE_CHECKING:
    from mlmgmt_nb.service.access.issuer import Issuer

__all__ = ["Guard"]


class Guard:
    """Authenticate and authorize requests.

    Args:
        token: the token of the state folder; it gives full access.
        accepted: validates tokens of an identity provider, if any are accepted.
        grants: the grants; the default app roles and scopes if empty.
    """

    def __init__(self, token: str, accepted: IssuerSettings | None = None, grants: Sequence[Grant] = ()) -> None:
        self._token = token.encode()
        self._accepted = accepted
        self._issuer = None if accepted is None else _issuer(accepted)
        self._grants = tuple(grants) or DEFAULT_GRANTS

    def preload(self) -> None:
        """Read the keys of the identity provider in advance, so that the first request does not wait."""
        if self._issuer is not None:
            self._issuer.preload()

    async def principal(self, request: Request, threads: Executor) -> Principal:
        """Return the caller of a request.

        Args:
            threads: executor in which to wait for the identity provider.

        Raises:
            Problem: 401 without an accepted token; 503 when the provider's keys are not available.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        # Both are compared in full, so that the time taken reveals nothing about the token.
        if scheme.lower() == "bearer" and token and hmac.compare_digest(token.encode("latin-1"), self._token):
            return OWNER
        if self._issuer is None:
            raise self._unauthorized(
                "The bearer token is missing or wrong; it is in the file 'token' of the service's state folder."
            )
        if scheme.lower() != "bearer" or not token:
            raise self._unauthorized("The bearer token is missing; sign in with Azure AD (`mlmgmt login`).")
        loop = asyncio.get_running_loop()
        try:
            claims = await loop.run_in_executor(threads, self._issuer.check, token)
        except TokenError as error:
            raise self._unauthorized(f"The bearer token is not accepted: {error}.", str(error)) from None
        except NoKeysError as error:
            raise Problem(
                503,
                "IdentityProviderUnreachable",
                f"Tokens cannot be checked now: {error}. Try again.",
                headers={"retry-after": "5"},
            ) from None
        return principal_of(claims, self._grants)

    def authorize(self, principal: Principal, action: str, account: str) -> None:
        """Check that a principal may perform an action.

        Args:
            action: one of `permissions.NEEDED`.
            account: `SUBSCRIPTION/RESOURCEGROUP/NAME`, or `*` for actions on every account.

        Raises:
            Problem: 403.
        """
        needed = NEEDED[action]
        role = principal.role(account)
        if role is not None and role >= needed:
            return
        where = "every account" if account == EVERY_ACCOUNT else f"the account {account.rpartition('/')[2]!r}"
        has = "no role" if role is None else f"the role {role.name.capitalize()}"
        raise Problem(
            403,
            "Forbidden",
            f"{principal.name} has {has} for {where}; this request needs {needed.name.capitalize()}. "
            "Ask the operator of the service for it (`mlmgmt serve --grant`, or an app role of the tenant).",
            headers={"www-authenticate": self._challenge("insufficient_scope", scope=needed.name.capitalize())},
        )

    def _unauthorized(self, message: str, reason: str = "") -> Problem:
        challenge = self._challenge("invalid_token", error_description=reason) if reason else self._challenge()
        return Problem(401, "Unauthorized", message, headers={"www-authenticate": challenge})

    def _challenge(self, error: str = "", **more: str) -> str:
        """Return the `WWW-Authenticate` header for a client (RFC 6750, section 3)."""
        parts = {"authorization_uri": self._accepted.authorization_uri} if self._accepted else {}
        parts |= {"error": error, **more} if error else {}
        return ", ".join(['Bearer realm="mlmgmt"', *(f'{name}="{value}"' for name, value in parts.items())])


def _issuer(accepted: IssuerSettings) -> Issuer:
    # Imported here: most services accept no such tokens, and its libraries are a quarter of the imports at startup.
    from mlmgmt_nb.service.access.issuer import Issuer

    return Issuer(accepted)
