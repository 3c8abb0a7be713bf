"""Settings of the identity provider whose tokens the service accepts."""

from __future__ import annotations

import msgspec

__all__ = ["AZURE_AUTHORITY", "IssuerSettings"]

AZURE_AUTHORITY = "https://login.microsoftonline.com"


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions for accepted tokens.

    Attributes:
        audience: accepted values of `aud`.
        tenant: the required tenant; compared with the `tid` of a token, if it has one.
        authority: URL of the authority of an Azure AD tenant (sovereign clouds have their own).
        issuer: URL of another OpenID Connect provider, instead of a tenant and authority.
        pause: minimum seconds between two requests for the provider's keys.
    """

    audience: tuple[str, ...]
    tenant: str | None = None
    authority: str = AZURE_AUTHORITY
    issuer: str | None = None
    pause: float = 60.0

    @property
    def metadata_url(self) -> str:
        """Return the URL of the provider's discovery document."""
        base = self.issuer or f"{self.authority.rstrip('/')}/{self.tenant}/v2.0"
        return f"{base.rstrip('/')}/.well-known/openid-configuration"

    @property
    def authorization_uri(self) -> str:
        """Return the URL where a client without a token can sign in."""
        return self.issuer or f"{self.authority.rstrip('/')}/{self.tenant}"
