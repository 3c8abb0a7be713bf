"""The identity provider whose tokens the service accepts."""

from __future__ import annotations

import msgspec

__all__ = ["AZURE_AUTHORITY", "IssuerSettings"]

AZURE_AUTHORITY = "https://login.microsoftonline.com"


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which tokens are accepted.

    Attributes:
        audience: what their `aud` must be; any of these.
        tenant: the tenant that issued them; their `tid` where they have one.
        authority: URL of the authority, for a tenant of Azure AD (a sovereign cloud has one of its own).
        issuer: URL of another OpenID Connect provider, instead of a tenant at an authority.
        pause: fewest seconds between two requests for the provider's keys.
    """

    audience: tuple[str, ...]
    tenant: str | None = None
    authority: str = AZURE_AUTHORITY
    issuer: str | None = None
    pause: float = 60.0

    @property
    def metadata_url(self) -> str:
        """Where the provider describes itself."""
        base = self.issuer or f"{self.authority.rstrip('/')}/{self.tenant}/v2.0"
        return f"{base.rstrip('/')}/.well-known/openid-configuration"

    @property
    def authorization_uri(self) -> str:
        """Where a client is sent that has no token."""
        return self.issuer or f"{self.authority.rstrip('/')}/{self.tenant}"
