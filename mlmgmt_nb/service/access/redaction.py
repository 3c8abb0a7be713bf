"""Keeps secrets out of the service's log, whoever writes to it: libraries print URLs and headers when they fail."""

from __future__ import annotations

import logging
import re

__all__ = ["configure_logging", "redacted"]

_SECRETS = re.compile(
    r"""
    (?P<before>
        \b(?:bearer|basic)\s+                                       # the header Authorization
      | [?&](?:sig|se?cret|token|key|code|access_token|client_secret)=   # signed URLs, and what is like them
      | ://[^\s/:@]*:                                               # a password in a URL
      | \b(?:AccountKey|SharedAccessSignature|SharedAccessKey)=     # connection strings of Azure
      | ["']?(?:client_secret|refresh_token|access_token|password)["']?\s*[:=]\s*["']?
    )
    (?P<secret>[^\s&"',;@]+)
    | \beyJ[\w-]+\.[\w-]+\.[\w-]*                                   # a JSON web token
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redacted(text: str) -> str:
    """A text without what looks like a secret."""
    return _SECRETS.sub(lambda found: f"{found['before'] or ''}***", text)


class _Formatter(logging.Formatter):
    """Formats a record, with its traceback, and takes the secrets out of all of it."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def configure_logging() -> None:
    """Has everything that is logged by this process go to standard error, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
