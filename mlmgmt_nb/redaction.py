"""Removal of secrets from displays and logs, because libraries include URLs and headers in their messages."""

from __future__ import annotations

import re

__all__ = ["redact_chain", "redacted"]

_SECRETS = re.compile(
    r"""
    (?P<before>
        \b(?:bearer|basic)\s+                                       # the header Authorization
      | [?&](?:sig|secret|token|key|code|access_token|client_secret)=   # signed URLs, and what is like them
      | \b(?:AccountKey|SharedAccessSignature|SharedAccessKey)=     # connection strings of Azure
      | ["']?(?:client_secret|client_assertion|refresh_token|access_token|password)["']?\s*[:=]\s*["']?
    )
    [^\s&"',;@]+
    | (?<=://)(?!git@)[^\s/@]+(?=@[\w.\[-])                          # name and password, or a token, in a URL
    | \beyJ[\w-]+\.[\w-]+\.[\w-]*                                   # a JSON web token
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redacted(text: str) -> str:
    """Return a text with `***` in place of anything that looks like a secret."""
    return _SECRETS.sub(lambda found: f"{found['before'] or ''}***", text)


def redact_chain(error: BaseException) -> None:
    """Remove secrets from the messages of an error, its causes and its context."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        found = left.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        found.args = tuple(redacted(part) if isinstance(part, str) else part for part in found.args)
        left += [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]
