"""Principals, roles and grants: who may do what in which account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import msgspec

__all__ = ["DEFAULT_GRANTS", "EVERY_ACCOUNT", "OWNER", "Grant", "Principal", "Role", "parse_grant", "principal_of"]

EVERY_ACCOUNT = "*"


class Role(IntEnum):
    """A set of rights; `permissions` lists the role for each operation. A higher role includes the lower ones."""

    READER = 1
    CONTRIBUTOR = 2


class Grant(msgspec.Struct, frozen=True):
    """A role for every caller whose token contains `who`.

    Attributes:
        role: the role.
        who: an object id, the id of an application or a group, an app role, or a scope.
        account: the account it applies to, as `NAME` or `SUBSCRIPTION/RESOURCEGROUP/NAME`; `*` for all accounts.
    """

    role: Role
    who: str
    account: str = EVERY_ACCOUNT

    def covers(self, account: str) -> bool:
        """Return whether the grant applies to an account, given as `SUBSCRIPTION/RESOURCEGROUP/NAME`."""
        return self.account in {EVERY_ACCOUNT, account, account.rpartition("/")[2]}


DEFAULT_GRANTS = (
    Grant(Role.READER, "Reader"),
    Grant(Role.CONTRIBUTOR, "Contributor"),
    Grant(Role.READER, "ModelManagement.Read"),
    Grant(Role.CONTRIBUTOR, "ModelManagement.ReadWrite"),
)
"""Default grants: app roles named after Azure's roles, and scopes with the usual names."""


_NAMES = ("preferred_username", "upn", "name", "azp", "appid")
"""Claims with a human-readable name, in order of preference."""

_MOST_CHARACTERS = 256


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A caller.

    Attributes:
        id: permanent identifier: `local`, or the object id of a user or application.
        name: human-readable name.
        grants: the grants of this caller.
    """

    id: str
    name: str
    grants: tuple[Grant, ...]

    def role(self, account: str) -> Role | None:
        """Return the role of the principal in an account, or None."""
        return max((grant.role for grant in self.grants if grant.covers(account)), default=None)


OWNER = Principal(id="local", name="owner of the state folder", grants=(Grant(Role.CONTRIBUTOR, "local"),))
"""Anyone who can read the token in the state folder."""


def parse_grant(text: str) -> Grant:
    """Parse a grant of the form `ROLE=WHO` or `ROLE=WHO@ACCOUNT`.

    Raises:
        ValueError: the text has another form.
    """
    role, _, rest = text.partition("=")
    who, _, account = rest.partition("@")
    names = {known.name.lower(): known for known in Role}
    if role.strip().lower() not in names or not who.strip():
        raise ValueError(
            f"{text!r} is not a grant. Use reader=WHO or contributor=WHO, with @ACCOUNT appended for a single account; "
            "WHO is an object id, application id, group id, app role or scope"
        )
    return Grant(names[role.strip().lower()], who.strip(), account.strip() or EVERY_ACCOUNT)


def principal_of(claims: Mapping[str, Any], grants: Iterable[Grant]) -> Principal:
    """Return the principal that the claims of a token describe, with the grants that apply to it.

    Names that can be reassigned, such as mail addresses, are shown but grant nothing. Claims with the wrong JSON type
    are ignored.
    """
    has = _grantable(claims)
    shown = next(filter(None, (_text(claims, name) for name in _NAMES)), "")
    identity = _text(claims, "oid") or _text(claims, "sub")
    granted = tuple(grant for grant in grants if grant.who in has)
    return Principal(id=_shortened(identity), name=_shortened(shown or identity), grants=granted)


def _grantable(claims: Mapping[str, Any]) -> set[str]:
    """Return all that the `who` of a grant may name: ids, app roles, groups and scopes."""
    found = {_text(claims, name) for name in ("oid", "sub", "appid", "azp")}
    for name in ("roles", "groups"):
        if isinstance(listed := claims.get(name), list):
            found.update(item for item in listed if isinstance(item, str))
    found.update((_text(claims, "scp") or _text(claims, "scope")).split())
    return found


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _shortened(text: str) -> str:
    """Shorten text to fit into any response and log: bounded, and without lone surrogates."""
    return text[:_MOST_CHARACTERS].encode(errors="replace").decode()
