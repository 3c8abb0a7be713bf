"""The identity of the client: as its token names it, and as the server sees it."""

from __future__ import annotations

import base64
import datetime as dt

import msgspec

from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.errors import NotFoundError
from mlmgmt_nb.short_repr import ShortRepr

__all__ = ["Identity", "identity_of", "whoami"]


class Identity(ShortRepr, msgspec.Struct, frozen=True, kw_only=True):
    """The signed-in user or application.

    Attributes:
        source: the source of the token.
        name, id, tenant: name, id and tenant of the user or application.
        audience: the audience of the token.
        expires_on: the time when it expires.
        role: the role in the account, `Reader` or `Contributor`; None if the server does not report it.
    """

    source: str
    name: str | None = None
    id: str | None = None
    tenant: str | None = None
    audience: str | None = None
    expires_on: dt.datetime | None = None
    role: str | None = None


class _Claims(msgspec.Struct):
    preferred_username: str | None = None
    upn: str | None = None
    name: str | None = None
    azp: str | None = None
    appid: str | None = None
    oid: str | None = None
    tid: str | None = None
    aud: str | list[str] | None = None
    exp: float | None = None


resolve(_Claims)


class _AccountIdentity(msgspec.Struct):
    id: str = ""
    name: str = ""
    role: str | None = None


def identity_of(token: str | None, source: str) -> Identity:
    """Return the identity that a token names, unverified (the server verifies it); empty for an opaque token."""
    try:
        body = (token or "").split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=_Claims)
    except (IndexError, ValueError):
        return Identity(source=source)
    return Identity(
        source=source,
        name=claims.preferred_username or claims.upn or claims.name or claims.azp or claims.appid,
        id=claims.oid,
        tenant=claims.tid,
        audience=", ".join(claims.aud) if isinstance(claims.aud, list) else claims.aud,
        expires_on=dt.datetime.fromtimestamp(claims.exp, dt.UTC) if claims.exp else None,
    )


def whoami(transport: Transport) -> Identity:
    """Return the identity that the server sees, if it reports one; a server of 2017 does not."""
    credential = transport.credential
    mine = identity_of(credential.token(), credential.source)
    try:
        account = decode(transport.send("GET", "/whoami"), _AccountIdentity)
    except NotFoundError:
        return mine
    return msgspec.structs.replace(mine, name=account.name or mine.name, id=account.id or mine.id, role=account.role)
