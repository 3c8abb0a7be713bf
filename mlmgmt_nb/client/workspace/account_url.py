"""The name and the URL of an account, from the arguments of `connect`."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import quote

from mlmgmt_nb.client.http.urls import origin
from mlmgmt_nb.errors import UsageError

__all__ = ["AccountName", "check_base_url"]

_WORDS = ("subscriptions", "resourceGroups", "accounts")


def check_base_url(url: str) -> None:
    """Raise UsageError unless a text is an http or https URL. It may still lack the account."""
    try:
        origin(url)
    except UsageError as error:
        raise UsageError(
            f"base_url: {error.message}", field="base_url", fix="Give http(s)://HOST/.../accounts/NAME."
        ) from error


class AccountName(NamedTuple):
    """The parts of an account's name; None for parts that are not given."""

    subscription: str | None
    resource_group: str | None
    name: str | None

    def arguments(self, **more: str | os.PathLike[str] | None) -> dict[str, str]:
        """Return the equivalent arguments of `connect`."""
        named = {"subscription": self.subscription, "resource_group": self.resource_group, "account": self.name}
        return {name: str(value) for name, value in {**more, **named}.items() if value is not None}

    def url(self, base_url: str) -> str:
        """Return the URL of the account at a server; it replaces an account in the server's URL.

        Raises:
            UsageError: the URL is not valid, or the account is not given.
        """
        url = base_url.rstrip("/")
        check_base_url(url)
        parts = url.split("/")
        has_query = "?" in url or "#" in url
        if any(self) and not has_query:
            return self._url_at(parts)
        if has_query or parts[-2:-1] != ["accounts"]:
            raise UsageError(
                f"base_url {base_url!r} does not end in /accounts/NAME",
                field="base_url",
                fix="Also give subscription, resource_group and account, or give the whole URL: `mlmgmt status` "
                "prints that of the embedded service.",
            )
        return url

    def _url_at(self, parts: list[str]) -> str:
        """Return the URL from the parts of the server's URL; its account provides the parts that are not given."""
        has_account = len(parts) > 6 and (parts[-6], parts[-4], parts[-2]) == _WORDS
        known = (parts[-5], parts[-3], parts[-1]) if has_account else (None, None, None)
        chosen = [quote(mine, safe="") if mine else theirs for mine, theirs in zip(self, known, strict=True)]
        for name, value in zip(("subscription", "resource_group", "account"), chosen, strict=True):
            if value is None:
                raise UsageError(f"{name} is missing", field=name, fix="Give it, or give the whole URL as base_url.")
        server = parts[:-6] if has_account else [*parts, "api"]
        return "/".join([*server, *(str(part) for pair in zip(_WORDS, chosen, strict=True) for part in pair)])
