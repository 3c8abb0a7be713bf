"""Messages of a supervisor to a spare: a header with the size of the message, then its JSON."""

from __future__ import annotations

import msgspec

__all__ = ["HEADER_BYTES", "Assignment", "Modules"]

HEADER_BYTES = 4
"""Length of the header of a message: its size in bytes, and for an assignment the listening sockets."""


class Modules(msgspec.Struct, tag=True):
    """Modules to import for the application that it is going to serve."""

    names: list[str]


class Assignment(msgspec.Struct, tag=True):
    """The application that a spare serves.

    Attributes:
        app: the application folder, which becomes the working directory.
        environment: variables that the process would have if it had been started for this application.
    """

    app: str
    environment: dict[str, str]
