"""An identity provider like Azure AD, over HTTPS on loopback, because tests cannot use Azure AD itself.

It implements the parts of OAuth 2.0 and OpenID Connect that azure-identity and a resource server use: discovery, public
keys, client credentials (with a secret or a signed assertion), device codes and refresh tokens.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import load_pem_x509_certificate

__all__ = ["AUDIENCE", "TENANT", "IdentityProvider", "running"]

TENANT = "11111111-2222-3333-4444-555555555555"
AUDIENCE = "api://mlmgmt"


class Key:
    """A key pair, and the id of the published public key."""

    def __init__(self, kind: str = "RSA") -> None:
        self.id = uuid.uuid4().hex
        self.kind = kind
        self.private: Any = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if kind == "RSA"
            else ec.generate_private_key(ec.SECP256R1())
        )

    @property
    def algorithm(self) -> str:
        return "RS256" if self.kind == "RSA" else "ES256"

    def public(self) -> dict[str, Any]:
        algorithm: Any = jwt.algorithms.RSAAlgorithm if self.kind == "RSA" else jwt.algorithms.ECAlgorithm
        document: dict[str, Any] = json.loads(algorithm.to_jwk(self.private.public_key()))
        return {**document, "kid": self.id, "use": "sig", "alg": self.algorithm}

    def public_pem(self) -> bytes:
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        pem: bytes = self.private.public_key().public_bytes(encoding, form)
        return pem


class IdentityProvider:
    """The provider.

    Attributes:
        url: origin of the provider, the authority of `TENANT`.
        ca_file: certificate of the authority that signed the certificate of the provider.
        keys: the published keys; the first one signs.
        secrets: the secret of each application.
        certificates: the certificate (PEM) of each application that signs assertions.
        roles: the app roles of each application.
        approved: device codes that the user has approved.
        requests: the paths of all requests.
        more_keys: additional entries of the key document, as JSON.
        lifetime: seconds for which a token is valid.
        is_down: whether the response to every request is 503.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.keys = [Key(), Key("EC")]
        self.secrets: dict[str, str] = {}
        self.certificates: dict[str, bytes] = {}
        self.roles: dict[str, list[str]] = {}
        self.approved: set[str] = set()
        self.pending: set[str] = set()
        self.scopes: dict[str, str] = {}
        self.requests: list[str] = []
        self.more_keys: list[Any] = []
        self.lifetime = 3600
        self.is_down = False
        ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        ca.cert_pem.write_to_path(self.ca_file)
        self.certificate = ca.issue_cert("localhost", "127.0.0.1")
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate.configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def issuer(self) -> str:
        return f"{self.url}/{TENANT}/v2.0"

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid token; None removes a claim."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE,
            "iss": self.issuer,
            "tid": TENANT,
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime,
            "oid": "0a0a0a0a-0000-0000-0000-000000000001",
            "sub": "someone",
            "jti": uuid.uuid4().hex,
            "preferred_username": "ada@example.org",
            "roles": ["Contributor"],
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key: Key | None = None, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """Return a signed token."""
        key = key or self.keys[0]
        return jwt.encode(
            self.claims(**changes), key.private, algorithm=key.algorithm, headers={"kid": key.id, **(headers or {})}
        )

    def rotate(self) -> Key:
        """Publish a new key, which signs from now on, and withdraw all other keys."""
        self.keys = [Key()]
        return self.keys[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._reply(*provider.get(urlsplit(self.path).path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self._reply(*provider.post(urlsplit(self.path).path, form))

            def _reply(self, status: int, answer: Any) -> None:
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        return Handler

    def get(self, path: str) -> tuple[int, Any]:
        self.requests.append(path)
        if self.is_down:
            return 503, {"error": "temporarily_unavailable"}
        base = f"{self.url}/{TENANT}"
        if path.endswith("/.well-known/openid-configuration"):
            return 200, {
                "issuer": self.issuer,
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            }
        if path.endswith("/keys"):
            return 200, {"keys": [*self.more_keys, *(key.public() for key in self.keys)]}
        return 404, {"error": "not_found"}

    def post(self, path: str, form: Mapping[str, str]) -> tuple[int, Any]:
        self.requests.append(path)
        if self.is_down:
            return 503, {"error": "temporarily_unavailable"}
        if path.endswith("/devicecode"):
            code = uuid.uuid4().hex
            self.pending.add(code)
            self.scopes[code] = form.get("scope", "")
            return 200, {
                "device_code": code,
                "user_code": "ABCD1234",
                "verification_uri": f"{self.url}/device",
                "expires_in": 60,
                "interval": 1,
                "message": "To sign in, open the page and enter the code ABCD1234.",
            }
        if not path.endswith("/token"):
            return 404, {"error": "not_found"}
        grant = form["grant_type"]
        if grant == "client_credentials":
            return self._application(form)
        if grant == "urn:ietf:params:oauth:grant-type:device_code":
            if form["device_code"] not in self.approved:
                return 400, {"error": "authorization_pending", "error_description": "nobody has entered the code yet"}
            return 200, self._answer(form["client_id"], self.scopes[form["device_code"]])
        if grant == "refresh_token":
            return 200, self._answer(form["client_id"], form.get("scope", ""))
        return 400, {"error": "unsupported_grant_type"}

    def _application(self, form: Mapping[str, str]) -> tuple[int, Any]:
        client = form["client_id"]
        if "client_assertion" in form:
            certificate = load_pem_x509_certificate(self.certificates[client])
            audience = f"{self.url}/{TENANT}/oauth2/v2.0/token"
            public: Any = certificate.public_key()
            jwt.decode(form["client_assertion"], public, algorithms=["PS256", "RS256"], audience=audience)
        elif self.secrets.get(client) != form.get("client_secret"):
            return 401, {
                "error": "invalid_client",
                "error_description": "AADSTS7000215: Invalid client secret provided.",
            }
        if not form["scope"].startswith(AUDIENCE):
            return 400, {"error": "invalid_scope", "error_description": f"AADSTS70011: {form['scope']} is not valid."}
        return 200, self._answer(client, None)

    def _answer(self, client: str, users_scope: str | None) -> dict[str, Any]:
        about = (
            {"scp": "ModelManagement.ReadWrite", "roles": None, "azp": client}
            if users_scope is not None
            else {"roles": self.roles.get(client, []), "azp": client, "preferred_username": None, "oid": client}
        )
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "ext_expires_in": self.lifetime,
            "access_token": self.token(**about),
        }
        if users_scope is not None:
            answer |= {
                "refresh_token": uuid.uuid4().hex,
                "scope": " ".join(part for part in users_scope.split() if "/" in part),
                "id_token": self.token(aud=client),
                "client_info": "eyJ1aWQiOiJzb21lb25lIiwidXRpZCI6InRlbmFudCJ9",
            }
        return answer


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[IdentityProvider]:
    """Yield a provider that listens, and close it at the end."""
    provider = IdentityProvider(folder, port)
    try:
        yield provider
    finally:
        provider.close()
