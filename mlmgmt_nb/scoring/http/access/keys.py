"""Check the keys of a service."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from mlmgmt_nb.scoring.errors import RequestError

__all__ = ["Keys"]


class Keys:
    """The keys of a service, as SHA-256 digests in hex. Without keys, every request is admitted.

    Args:
        realm: the name of the service, for clients that are refused.
    """

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._digests: list[str] = []

    def replace(self, digests: Iterable[str]) -> int:
        """Replace the digests; return their number."""
        self._digests = list(digests)
        return len(self._digests)

    def admits(self, authorization: bytes) -> bool:
        """Compare a header with all keys, always with each of them, in constant time."""
        if not self._digests:
            return True
        scheme, _, key = authorization.partition(b" ")
        digest = sha256(key.strip()).hexdigest()
        right = False
        for known in self._digests:
            right |= hmac.compare_digest(digest, known)
        return right and scheme.lower() == b"bearer"

    def check(self, authorization: bytes) -> None:
        """Refuse a request without a valid key.

        Raises:
            RequestError: 401, the key is missing or wrong.
        """
        if self.admits(authorization):
            return
        reason = "the key is wrong" if authorization else "a key is needed"
        raise RequestError(
            401,
            "Unauthorized",
            f"{reason}: send a key of this service as 'Authorization: Bearer <key>'",
            headers={"WWW-Authenticate": f'Bearer realm="{self._realm}"'},
        )
