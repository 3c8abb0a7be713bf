"""Authentication of requests: the bearer token, its renewal after a 401, and the pinned certificate of a server."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from mlmgmt_nb import local
from mlmgmt_nb.client.http.credentials import Credential

__all__ = ["POOL_SIZE", "Bearer", "PinnedAdapter", "renewed"]

POOL_SIZE = 32
"""Maximum number of connections that a transport keeps open."""


class Bearer(requests.auth.AuthBase):
    """Set the header as an `auth`, because requests would replace a plain header by one from `.netrc`."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class PinnedAdapter(HTTPAdapter):
    """Connections to a server with a pinned certificate, which is trusted for any name."""

    __attrs__ = [*HTTPAdapter.__attrs__, "_certificate"]

    def __init__(self, certificate: Path) -> None:
        self._certificate = certificate
        super().__init__(pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        options |= {"ssl_context": local.pinned(self._certificate), "assert_hostname": False}
        super().init_poolmanager(*arguments, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None: ...


def renewed(credential: Credential, response: requests.Response) -> bool:
    """Renew a credential whose token the server refused. Return True if another token can be sent."""
    return credential.renew(_token_of(response), _claims(response))


def _token_of(response: requests.Response) -> str | None:
    return response.request.headers.get("Authorization", "").removeprefix("Bearer ") or None


def _claims(response: requests.Response) -> str | None:
    """Return the claims that the server requires of the next token, from its challenge."""
    found = re.search(r'\bclaims="([^"]*)"', response.headers.get("WWW-Authenticate", ""))
    try:
        return base64.b64decode(found[1] + "==").decode() if found else None
    except ValueError:
        return None
