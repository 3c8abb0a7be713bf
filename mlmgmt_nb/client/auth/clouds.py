"""The clouds of Azure: their authorities, and the scopes of tokens for their management APIs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["CLOUDS", "authority_host", "scope_of"]

CLOUDS: Mapping[str, str] = {
    "login.microsoftonline.com": "https://management.azure.com/.default",
    "login.microsoftonline.us": "https://management.usgovcloudapi.net/.default",
    "login.chinacloudapi.cn": "https://management.chinacloudapi.cn/.default",
}
"""The authority of each Azure cloud, and the scope of its management API.
https://learn.microsoft.com/azure/developer/python/sdk/authentication/overview has the authorities.
"""


def scope_of(authority: str | None) -> str:
    """Return the default scope of tokens: the management API of the authority's cloud."""
    host = authority_host(authority or os.environ.get("AZURE_AUTHORITY_HOST") or "")
    return CLOUDS.get(host, CLOUDS["login.microsoftonline.com"])


def authority_host(authority: str) -> str:
    """Return the host of an authority, given as a host or a URL; empty if there is none."""
    return urlsplit(authority if "://" in authority else f"https://{authority}").hostname or ""
