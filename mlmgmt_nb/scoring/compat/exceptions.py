"""`azureml.api.exceptions`: a driver raises these to choose the HTTP status of the answer."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ApiException",
    "BadRequestException",
    "ClientSideException",
    "InternalServerException",
    "NotFoundException",
    "ServerSideException",
    "ServiceUnavailableException",
    "TooManyRequestsException",
    "UnauthorizedException",
    "UnsupportedMediaTypeException",
]


class ApiException(Exception):  # noqa: N818 - the names are those of 2017
    """An answer with the status `status_code` and a `message` for the caller."""

    status_code: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ClientSideException(ApiException):
    """The request is invalid."""

    status_code = 400


class ServerSideException(ApiException):
    """The service failed."""


class BadRequestException(ClientSideException):
    """400"""


class UnauthorizedException(ClientSideException):
    """401"""

    status_code = 401


class NotFoundException(ClientSideException):
    """404"""

    status_code = 404


class UnsupportedMediaTypeException(ClientSideException):
    """415"""

    status_code = 415


class TooManyRequestsException(ClientSideException):
    """429"""

    status_code = 429


class InternalServerException(ServerSideException):
    """500"""


class ServiceUnavailableException(ServerSideException):
    """503"""

    status_code = 503
