"""Errors for tokens of an identity provider that are not accepted."""

from __future__ import annotations

__all__ = ["NoKeysError", "TokenError"]


class TokenError(Exception):
    """A token is not accepted. The message gives the reason and repeats nothing from the token."""


class NoKeysError(Exception):
    """The provider's keys are not available."""
