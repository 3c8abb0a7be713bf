"""Build errors, for the user who requested the build."""

from __future__ import annotations

__all__ = ["BuildError"]


class BuildError(Exception):
    """A build cannot be done. `code` is machine-readable; the message names the cause and the fix."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
