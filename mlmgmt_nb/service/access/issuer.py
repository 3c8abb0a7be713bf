"""Validation of tokens that an identity provider issued for this service.

The provider's keys are found by OpenID Connect discovery, cached, and read again when they are a day old or when a
token names an unknown key (at most once a minute, so that made-up key ids do not cause a flood of requests).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
import requests

from mlmgmt_nb.scoring.http.access.hosts import LOOPBACK
from mlmgmt_nb.service.access.issuer_settings import AZURE_AUTHORITY, IssuerSettings
from mlmgmt_nb.service.access.token_errors import NoKeysError, TokenError

__all__ = ["Issuer"]

log = logging.getLogger(__name__)

_ALGORITHMS = frozenset(
    f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)
)  # no algorithm with a shared secret
_SKEW_SECONDS = 60
_KEYS_SECONDS = 24 * 3600.0
_MALFORMED = (jwt.PyJWTError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RecursionError)
"""Exceptions for parts of a token that have the wrong JSON type, are nested too deeply, or are not JSON."""
_MOST_TOKEN_BYTES = 16 * 1024
_MOST_ANSWER_BYTES = 2**20
_TIMEOUT = (3.05, 10.0)


class _ProviderKeys(msgspec.Struct, frozen=True):
    """The provider's last response."""

    issuers: tuple[str, ...]
    keys: Mapping[str | None, jwt.PyJWK]
    read_at: float


class Issuer:
    """Check the tokens of one provider. Thread-safe; `check` may block while it reads the provider's keys.

    Args:
        settings: defines which tokens are accepted.
        clock: monotonic time in seconds.
    """

    def __init__(self, settings: IssuerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._reading = threading.Lock()
        self._attempted_at = float("-inf")
        self._cached: _ProviderKeys | None = None

    def check(self, token: str) -> dict[str, Any]:
        """Return the claims of a token.

        Raises:
            TokenError: the token is not accepted.
            NoKeysError: the keys to check it with are not available.
        """
        if len(token) > _MOST_TOKEN_BYTES:
            raise TokenError("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except _MALFORMED:
            raise TokenError("the token is not a signed JWT") from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
            raise TokenError("the token is not signed with an accepted algorithm")
        key, provider = self._key(header.get("kid"))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=list(self._settings.audience),
                issuer=list(provider.issuers),
                leeway=_SKEW_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise TokenError(_REASONS.get(type(error), "the signature is wrong")) from None
        except _MALFORMED:
            raise TokenError("the token is malformed") from None
        if self._settings.issuer is None and claims.get("tid") != self._settings.tenant:
            raise TokenError("the token is from another tenant")
        return claims

    def preload(self) -> None:
        """Read the keys now, so that the first request does not wait for them. Log a failure."""
        try:
            self._read(self._clock())
        except NoKeysError as error:
            log.warning("%s; the next attempt is at the first token", error)

    def _key(self, key_id: str | None) -> tuple[jwt.PyJWK, _ProviderKeys]:
        provider, now = self._cached, self._clock()
        if provider is None or now - provider.read_at > _KEYS_SECONDS or _select_key(provider, key_id) is None:
            provider = self._read(now)
        key = _select_key(provider, key_id)
        if key is None:
            raise TokenError("the token is signed with a key that its issuer does not publish")
        return key, provider

    def _read(self, now: float) -> _ProviderKeys:
        """Return the provider's keys; read them unless the last attempt was less than `pause` seconds ago."""
        with self._reading:
            if self._clock() - self._attempted_at < self._settings.pause or (
                self._cached and self._cached.read_at > now
            ):
                if self._cached is not None:
                    return self._cached
                raise NoKeysError(
                    "the keys of the identity provider could not be read at the last attempt, moments ago"
                )
            self._attempted_at = self._clock()
            try:
                self._cached = self._fetched()
            except (requests.RequestException, *_MALFORMED) as error:
                if self._cached is None:
                    raise NoKeysError(
                        f"the keys of {self._settings.metadata_url} cannot be read ({type(error).__name__})"
                    ) from error
                log.warning("the keys of %s cannot be read again (%s)", self._settings.metadata_url, error)
            return self._cached

    def _fetched(self) -> _ProviderKeys:
        metadata = _get(self._settings.metadata_url)
        issuer = str(metadata["issuer"])
        keys: dict[str | None, jwt.PyJWK] = {}
        for document in _get(str(metadata["jwks_uri"]))["keys"]:
            with contextlib.suppress(*_MALFORMED):  # ignore a key that is not accepted
                # Symmetric keys and encryption keys do not belong in a public document.
                if document.get("kty") in {"RSA", "EC"} and document.get("use", "sig") == "sig":
                    keys[document.get("kid")] = jwt.PyJWK(document)
        if not keys:
            raise ValueError("the document has no signing keys")
        return _ProviderKeys((issuer, *self._older_issuer(issuer)), keys, self._clock())

    def _older_issuer(self, issuer: str) -> tuple[str, ...]:
        """Return the other issuer name that Azure AD uses in version 1 tokens, which many applications still get."""
        is_azure = self._settings.issuer is None and urlsplit(issuer).hostname == urlsplit(AZURE_AUTHORITY).hostname
        return (f"https://sts.windows.net/{self._settings.tenant}/",) if is_azure else ()


_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is from another issuer",
    jwt.MissingRequiredClaimError: "the token lacks at least one of the claims exp, iss and aud",
}


def _select_key(provider: _ProviderKeys, key_id: str | None) -> jwt.PyJWK | None:
    """Return the key that a token names, or the only key if the token does not name a key."""
    if key_id is None and len(provider.keys) == 1:
        return next(iter(provider.keys.values()))
    return provider.keys.get(key_id) if isinstance(key_id, str) else None


def _get(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ValueError(f"{url} is not an https URL")
    with requests.get(url, timeout=_TIMEOUT, allow_redirects=False, stream=True) as response:
        response.raise_for_status()
        if response.is_redirect:
            raise ValueError(f"{url} redirects")
        body = response.raw.read(_MOST_ANSWER_BYTES, decode_content=True)
    answer = msgspec.json.decode(body)
    if not isinstance(answer, dict):
        raise TypeError(f"{url} did not return a JSON object")
    return answer
