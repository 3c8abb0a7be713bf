"""Why a build fails, for the user who asked for it."""

from __future__ import annotations

__all__ = ["BuildError"]


class BuildError(Exception):
    """A build cannot be done. `code` is for programs; the message names what is at fault, and the fix."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
