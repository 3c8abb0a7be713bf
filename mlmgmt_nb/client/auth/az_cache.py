"""The tokens that `az` keeps on this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlmgmt_nb.client.auth.clouds import CLOUDS, authority_host

__all__ = ["AzCache"]

_AZ_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
"""The application that `az` signs in as."""
_OLDER_RESOURCE = {"https://management.core.windows.net": "https://management.azure.com"}
"""The current name of the management API by its name of 2017; tokens for either are valid for both."""


class AzCache:
    """The tokens that `az` keeps in `~/.azure`, read without `az`: its current cache, and the `accessTokens.json` of
    2017. Nothing is written. A `TokenCredential` of azure-core.

    Args:
        tenant: the tenant of the tokens (default: any).
        folder: their folder (default: AZURE_CONFIG_DIR or `~/.azure`).
        clock: seconds since the epoch.
    """

    def __init__(
        self, tenant: str | None = None, folder: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._tenant = tenant
        self._folder = folder or Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")
        self._clock = clock

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """Return a token for the scopes.

        Raises:
            CredentialUnavailableError: no token is valid or can be renewed.
        """
        from azure.identity import CredentialUnavailableError

        found = self._from_access_tokens(scopes[0]) or self._from_msal_cache(scopes)
        if found is None:
            raise CredentialUnavailableError(message=f"{self._folder} has no valid token of `az`.")
        return found

    def _from_access_tokens(self, scope: str) -> Any:
        from azure.core.credentials import AccessToken

        resource = scope.removesuffix("/.default").rstrip("/")
        for entry in self._entries("accessTokens.json", list):
            if not isinstance(entry, dict) or not self._is_for(entry, resource):
                continue
            expires = _expiry(str(entry.get("expiresOn")))
            if expires > self._clock() + 60:
                return AccessToken(str(entry["accessToken"]), int(expires))
            if entry.get("refreshToken"):
                renewed = self._renewed(entry, scope)
                if renewed is not None:
                    return renewed
        return None

    def _is_for(self, entry: Mapping[str, Any], resource: str) -> bool:
        given = str(entry.get("resource", "")).rstrip("/")
        tenant = str(entry.get("_authority", "")).rstrip("/").rpartition("/")[2]
        return _OLDER_RESOURCE.get(given, given) == resource and self._tenant in {None, tenant}

    def _renewed(self, entry: Mapping[str, Any], scope: str) -> Any:
        import msal

        application = msal.PublicClientApplication(
            str(entry.get("_clientId") or _AZ_CLIENT), authority=str(entry["_authority"]), **_discovery(entry)
        )
        return _token(application.acquire_token_by_refresh_token(str(entry["refreshToken"]), [scope]), self._clock())

    def _from_msal_cache(self, scopes: tuple[str, ...]) -> Any:
        text = self._text("msal_token_cache.json")
        if text is None:
            return None
        import msal

        cache = msal.SerializableTokenCache()
        try:
            cache.deserialize(text)
        except ValueError:
            return None
        return self._cached(cache, scopes) or self._refreshed(cache, scopes)

    def _cached(self, cache: Any, scopes: tuple[str, ...]) -> Any:
        """Return a cached token that is still valid."""
        from azure.core.credentials import AccessToken

        for entry in list(cache.search(cache.CredentialType.ACCESS_TOKEN, target=list(scopes))):
            expires = int(entry.get("expires_on") or 0)
            if self._tenant in {None, entry.get("realm")} and expires > self._clock() + 60:
                return AccessToken(str(entry["secret"]), expires)
        return None

    def _refreshed(self, cache: Any, scopes: tuple[str, ...]) -> Any:
        """Return a new token from a refresh token of the cache. It is kept in memory only, because the file belongs to
        `az`."""
        import msal

        for account in list(cache.search(cache.CredentialType.ACCOUNT)):
            tenant = str(account.get("realm"))
            if self._tenant not in {None, tenant}:
                continue
            authority = f"https://{account['environment']}/{tenant}"
            application = msal.PublicClientApplication(
                _AZ_CLIENT, authority=authority, token_cache=cache, **_discovery({"_authority": authority})
            )
            for known in application.get_accounts(account.get("username")):
                found = _token(application.acquire_token_silent(list(scopes), known), self._clock())
                if found is not None:
                    return found
        return None

    def _entries(self, name: str, kind: type) -> Any:
        text = self._text(name)
        try:
            entries = json.loads(text) if text else kind()
        except ValueError:
            return kind()
        return entries if isinstance(entries, kind) else kind()

    def _text(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return None


def _token(answer: Mapping[str, Any] | None, now: float) -> Any:
    from azure.core.credentials import AccessToken

    if not answer or "access_token" not in answer:
        return None
    return AccessToken(str(answer["access_token"]), int(now + int(answer["expires_in"])))


def _discovery(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {} if authority_host(str(entry["_authority"])) in CLOUDS else {"instance_discovery": False}


def _expiry(text: str) -> float:
    """Return the expiry time of a token of 2017, which `az` wrote in local time without a zone."""
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%fZ"):
        try:
            parsed = time.strptime(text, form)
        except ValueError:
            continue
        if not form.endswith("Z"):
            return time.mktime(parsed)
        import calendar

        return float(calendar.timegm(parsed))
    return 0.0
