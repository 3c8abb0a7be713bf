"""Tokens of an identity provider, roles, TLS and the audit log, on a real service."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlmgmt_nb import connect, local
from mlmgmt_nb.contract import OPERATIONS, Operation
from mlmgmt_nb.contract.changes import CHANGE_OPERATIONS
from mlmgmt_nb.errors import TransportError
from mlmgmt_nb.service.access.issuer import Issuer
from mlmgmt_nb.service.access.issuer_settings import IssuerSettings
from mlmgmt_nb.service.access.permissions import METRICS_ACTION, NEEDED, action_of
from mlmgmt_nb.service.access.principals import Role
from mlmgmt_nb.service.access.token_errors import TokenError
from mlmgmt_nb.service.api.resources import EXTENSIONS
from tests.conftest import API_VERSION, ServiceProcess
from tests.support import forks
from tests.support.oidc import AUDIENCE, TENANT, IdentityProvider, Key, running
from tests.support.waiting import eventually

TEAM = "/api/subscriptions/s/resourceGroups/g/accounts/team"
OTHER = "/api/subscriptions/s/resourceGroups/g/accounts/other"
MODEL = {"name": "iris", "url": "file:///nowhere/model.pkl", "mimeType": "application/json"}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with running(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


def arguments(provider: IdentityProvider, *more: str) -> list[str]:
    return ["--auth", "aad", "--tenant", TENANT, "--authority", provider.url, "--audience", AUDIENCE, *more]


@pytest.fixture(scope="module")
def service(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    service = ServiceProcess(
        tmp_path_factory.mktemp("access") / "home",
        *arguments(provider),
        "--grant",
        "reader=Reader",
        "--grant",
        "contributor=Contributor",
        "--grant",
        "contributor=team-group@team",
        environment={"REQUESTS_CA_BUNDLE": str(provider.ca_file)},
    )
    yield service
    service.stop()


def ask(
    service: ServiceProcess, token: str | None, method: str = "GET", path: str = f"{TEAM}/models", **more: Any
) -> Any:
    origin = service.base_url.partition("/api/")[0]
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, origin + path, headers=headers, params=API_VERSION, timeout=30, **more)


@pytest.mark.parametrize("content", ["", "\n", "   ", "abc"])
def test_a_token_that_anybody_could_guess_lets_nobody_in(
    tmp_path: Path, start_service: Callable[..., ServiceProcess], content: str
) -> None:
    api = start_service()
    api.process.terminate()
    api.process.wait(30)
    (api.home / "token").write_text(content)
    api.start()
    origin = api.base_url.partition("/api/")[0]
    for header in ("", "Bearer", "Bearer ", f"Bearer {content}", "Bearer\t", "Basic Og=="):
        answer = requests.get(f"{origin}/", headers={"authorization": header.strip("\n")}, timeout=30)
        assert answer.status_code == 401, header
    assert api.request("GET", "/models").status_code == 200


class TestTokens:
    def test_a_good_one(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        for key in provider.keys:
            assert ask(service, provider.token(key)).status_code == 200
        who = ask(service, provider.token(), path=f"{TEAM}/whoami").json()
        assert (who["name"], who["role"]) == ("ada@example.org", "Contributor")

    def test_none_at_all(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        answer = ask(service, None)
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge == f'Bearer realm="mlmgmt", authorization_uri="{provider.url}/{TENANT}"'
        assert answer.json()["code"] == "Unauthorized"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"exp": 1}, "the token has expired"),
            ({"exp": None}, "the token lacks at least one of the claims exp, iss and aud"),
            ({"nbf": 2**33}, "the token is not valid yet"),
            ({"aud": "api://else"}, "the token is for another audience"),
            ({"aud": None}, "the token lacks at least one of the claims exp, iss and aud"),
            ({"iss": "https://evil.example/v2.0"}, "the token is from another issuer"),
            ({"iss": None}, "the token lacks at least one of the claims exp, iss and aud"),
            ({"tid": "99999999-2222-3333-4444-555555555555"}, "the token is from another tenant"),
            ({"tid": None}, "the token is from another tenant"),
        ],
    )
    def test_of_others_or_of_another_time(
        self, service: ServiceProcess, provider: IdentityProvider, changes: dict[str, Any], reason: str
    ) -> None:
        answer = ask(service, provider.token(**changes))
        assert answer.status_code == 401
        assert f'error="invalid_token", error_description="{reason}"' in answer.headers["www-authenticate"]
        assert reason in answer.json()["message"]

    def test_within_the_skew(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        now = provider.claims()["iat"]
        assert ask(service, provider.token(exp=now - 20)).status_code == 200
        assert ask(service, provider.token(exp=now - 120)).status_code == 401

    def test_tampered(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        head, body, signature = provider.token(roles=["Reader"]).split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        claims["roles"] = ["Contributor"]
        forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        assert ask(service, f"{head}.{forged}.{signature}").status_code == 401
        assert ask(service, f"{head}.{body}.{signature[:-6]}AAAAAA").status_code == 401
        assert ask(service, f"{head}.{body}.").status_code == 401

    def test_unsigned_and_of_the_wrong_algorithm(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        key, claims = provider.keys[0], provider.claims()
        tokens = [jwt.encode(claims, "", algorithm="none", headers={"kid": key.id})]
        # The public key is not a secret: it must not be accepted as the secret of an HMAC.
        hashing = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        head = {"alg": "HS256", "typ": "JWT", "kid": key.id}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
        signed = b".".join(parts)
        signature = base64.urlsafe_b64encode(hashing.sign(signed, key.public_pem())).rstrip(b"=")
        tokens.append(b".".join([signed, signature]).decode())
        # A key of the attacker, embedded in the token only.
        own = Key()
        tokens.append(provider.token(own, headers={"jwk": own.public()}))
        tokens.append(provider.token(own, headers={"kid": key.id}))
        tokens.append(provider.token(own, headers={"kid": key.id, "jku": "https://evil.example/keys"}))
        # An elliptic curve signature with the id of the RSA key.
        tokens.append(provider.token(provider.keys[1], headers={"kid": key.id}))
        assert [ask(service, token).status_code for token in tokens] == [401] * len(tokens)

    def test_random_ones(
        self, service: ServiceProcess, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(provider.ca_file))
        settings = IssuerSettings(audience=(AUDIENCE,), tenant=TENANT, authority=provider.url)
        issuer = Issuer(settings)
        assert issuer.check(provider.token())["roles"] == ["Contributor"]
        asked = 0
        for number, token in enumerate(_random_tokens(provider.token(), 10_000)):
            with pytest.raises(TokenError):
                issuer.check(token)
            if number % 40 == 0:
                assert ask(service, token).status_code in {400, 401}, token
                asked += 1
        assert asked >= 200

    def test_a_token_of_the_state_folder_still_does(self, service: ServiceProcess) -> None:
        assert ask(service, service.token, "POST", json=MODEL).status_code == 200


def _random_tokens(good: str, count: int) -> Iterator[str]:
    """Yield texts of all kinds, and a good token with one letter changed; reproducible."""
    chance = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=+/ ~"
    made = 0
    while made < count:
        if made % 2:
            token = "x" + "".join(chance.choices(letters, k=chance.randrange(200)))
        else:
            place = chance.randrange(len(good))
            token = good[:place] + chance.choice(letters[:64]) + good[place + 1 :]
            if _same_token(token, good):
                continue
        made += 1
        yield token.strip()


def _same_token(one: str, other: str) -> bool:
    """Return whether two texts are the same token: the last letter of a part may have unused bits."""
    try:
        return [base64.urlsafe_b64decode(part + "==") for part in one.split(".")] == [
            base64.urlsafe_b64decode(part + "==") for part in other.split(".")
        ]
    except ValueError:
        return False


BODIES = {"POST", "PUT", "PATCH"}


def _method_and_path(action: str) -> tuple[str, str]:
    """Return a request for an action on a resource that does not exist."""
    if action == METRICS_ACTION:
        return "GET", "/metrics"
    operation = OPERATIONS.get(action) or CHANGE_OPERATIONS.get(action)
    method, path = (operation.method, operation.path) if operation else action.split()
    return method, TEAM + path.replace("{id}", "nowhere").replace("*", f"sha256/{'0' * 64}")


class TestRoles:
    def test_a_reader_reads(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        token = provider.token(roles=["Reader"])
        assert ask(service, token).status_code == 200
        answer = ask(service, token, "POST", json=MODEL)
        assert answer.status_code == 403
        assert 'error="insufficient_scope", scope="Contributor"' in answer.headers["www-authenticate"]
        assert "has the role Reader" in answer.json()["message"]
        assert ask(service, token, "GET", "/metrics").status_code == 200

    def test_the_table_has_every_action(self) -> None:
        extensions = {action_of(method, pattern) for pattern, methods in EXTENSIONS.items() for method in methods}
        assert set(NEEDED) == {*OPERATIONS, *CHANGE_OPERATIONS, *extensions, METRICS_ACTION}

    @pytest.mark.parametrize("action", NEEDED)
    def test_every_cell_of_the_table(self, service: ServiceProcess, provider: IdentityProvider, action: str) -> None:
        method, path = _method_and_path(action)
        needed = NEEDED[action]
        for roles, role in (([], 0), (["Reader"], Role.READER), (["Contributor"], Role.CONTRIBUTOR)):
            answer = ask(service, provider.token(roles=roles), method, path, json={} if method in BODIES else None)
            if role < needed:
                assert answer.status_code == 403
                assert f'scope="{needed.name.capitalize()}"' in answer.headers["www-authenticate"]
            else:
                assert answer.status_code not in {401, 403, 405}
                assert answer.status_code < 500
        owner = ask(service, service.token, method, path, json={} if method in BODIES else None)
        assert owner.status_code not in {401, 403, 405}
        assert owner.status_code < 500
        # A contributor of another account, and an unknown caller.
        assert (
            ask(
                service, provider.token(roles=None, groups=["team-group"]), method, path.replace(TEAM, OTHER)
            ).status_code
            == 403
        )
        assert ask(service, None, method, path).status_code == 401

    def test_nobody_without_a_role(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        changes: list[dict[str, Any]] = [
            {"roles": []},
            {"roles": None},
            {"roles": "Contributor"},
            {"roles": ["contributor "]},
        ]
        for claims in changes:
            answer = ask(service, provider.token(**claims))
            assert answer.status_code == 403
            assert "no role for the account 'team'" in answer.json()["message"]

    def test_a_role_for_one_account(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        token = provider.token(roles=None, groups=["team-group"])
        assert ask(service, token, "POST", json=MODEL).status_code == 200
        assert ask(service, token, "GET", f"{OTHER}/models").status_code == 403
        assert ask(service, token, "GET", "/metrics").status_code == 403


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
HEADERS = ("typ", "kid", "alg", "crit", "b64", "jku", "jwk", "x5c", "x")
CLAIMS = (
    "aud",
    "iss",
    "exp",
    "nbf",
    "iat",
    "tid",
    "sub",
    "oid",
    "roles",
    "groups",
    "scp",
    "scope",
    "appid",
    "name",
    "upn",
)
READ: tuple[str, ...] = (
    "authorization",
    "origin",
    "content-type",
    "content-encoding",
    "range",
    "upload-offset",
    "upload-length",
)
READ += ("x-ms-client-request-id", "x-ms-request-id", "accept", "accept-encoding", "cookie", "expect", "if-match", "te")
FUZZ = settings(max_examples=150, suppress_health_check=list(HealthCheck))


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _output(service: ServiceProcess) -> str:
    """Return the log of the service."""
    return service.home.with_name(service.home.name + ".output").read_text()


class TestGarbage:
    """Check that bad requests, signed in or not, are answered as client errors and leave no traceback."""

    @pytest.fixture(autouse=True)
    def _no_traceback(self, service: ServiceProcess) -> Iterator[None]:
        yield
        assert "Traceback" not in _output(service)

    def test_headers_and_claims_of_unsigned_tokens(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        good = {"alg": "RS256", "typ": "JWT", "kid": provider.keys[0].id}

        @FUZZ
        @given(
            header=JSON | st.dictionaries(st.sampled_from(HEADERS), JSON, max_size=3).map(lambda odd: {**good, **odd}),
            claims=JSON | st.dictionaries(st.sampled_from(CLAIMS), JSON, max_size=3),
            signature=st.sampled_from(["", "AAAA", "é", "=", "A" * 342]),
        )
        def check(header: Any, claims: Any, signature: str) -> None:
            token = f"{_part(header)}.{_part(claims)}.{signature}"
            assert ask(service, token.encode().decode("latin-1")).status_code == 401

        check()

    def test_claims_of_signed_tokens(self, service: ServiceProcess, provider: IdentityProvider) -> None:
        @FUZZ
        @given(claims=st.dictionaries(st.sampled_from(CLAIMS), JSON, min_size=1, max_size=3))
        def check(claims: dict[str, Any]) -> None:
            try:
                token = provider.token(**claims)
            except (TypeError, ValueError, AttributeError):
                return  # PyJWT does not sign it
            answer = ask(service, token, path=f"{TEAM}/whoami")
            assert answer.status_code in {200, 401, 403}, answer.text

        check()

    @pytest.mark.parametrize(
        "claims", [{"exp": float("inf")}, {"roles": 7}, {"roles": {"Contributor": 1}}, {"oid": ["x"]}]
    )
    def test_claims_that_were_taken_amiss(
        self, service: ServiceProcess, provider: IdentityProvider, claims: dict[str, Any]
    ) -> None:
        signed = provider.token(**claims)
        assert ask(service, signed).status_code == {"exp": 401, "roles": 403, "oid": 200}[next(iter(claims))]

    def test_tokens_nested_deep(self, service: ServiceProcess) -> None:
        deep = base64.urlsafe_b64encode(b"[" * 5000 + b"]" * 5000).decode()
        for token in (f"{deep}.e30.AAAA", f"{_part({'alg': 'RS256', 'kid': 'k'})}.{deep}.AAAA", f"{deep}.{deep}"):
            assert ask(service, token).status_code == 401

    def test_garbage_in_any_header(self, service: ServiceProcess) -> None:
        parts = urlsplit(service.base_url)

        @FUZZ
        @given(
            name=st.sampled_from(READ),
            value=st.binary(max_size=300).map(lambda value: bytes(b for b in value if b >= 32 and b != 127)),
            prefix=st.sampled_from([b"", b"Bearer ", b"bytes=", b"text/", b"9" * 5000]),
            is_signed_in=st.booleans(),
            method_and_path=st.sampled_from(
                [("GET", "/services/x/logs"), ("PATCH", f"/artifacts/sha256/{'0' * 64}"), ("POST", "/models")]
            ),
        )
        def check(name: str, value: bytes, prefix: bytes, is_signed_in: bool, method_and_path: tuple[str, str]) -> None:
            client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            method, path = method_and_path
            client.putrequest(method, f"{parts.path}{path}?api-version=2017-09-01-preview")
            client.putheader(name, prefix + value)
            if is_signed_in and name != "authorization":
                client.putheader("authorization", f"Bearer {service.token}")
            client.putheader("content-length", "2")
            client.endheaders(b"{}")
            with contextlib.closing(client):
                assert 400 <= client.getresponse().status < 500

        check()

    @pytest.mark.parametrize("operation", [o for o in OPERATIONS.values() if o.body is not None], ids=lambda o: o.id)
    def test_bodies_nested_deep(self, service: ServiceProcess, operation: Operation) -> None:
        deep = "[" * 10_000 + "]" * 10_000
        for body in (deep, f'{{"more": {deep}}}', f'{{"name": {deep}}}', '{"a":' * 10_000 + "1" + "}" * 10_000):
            path = TEAM + operation.path.replace("{id}", "x")
            answer = ask(service, service.token, operation.method, path, data=body)
            assert answer.status_code == 400, answer.text
            assert "$" in answer.json()["message"]


def test_keys_rotate(provider: IdentityProvider, start_service: Callable[..., ServiceProcess]) -> None:
    service = start_service(
        *arguments(provider, "--keys-pause", "0"), environment={"REQUESTS_CA_BUNDLE": str(provider.ca_file)}
    )
    before = provider.token()
    assert ask(service, before).status_code == 200
    kept = provider.keys
    try:
        provider.rotate()
        assert ask(service, provider.token()).status_code == 200
        assert ask(service, before).status_code == 401  # its key was withdrawn
        # While the provider is unavailable, known keys remain valid.
        provider.is_down = True
        assert ask(service, provider.token()).status_code == 200
    finally:
        provider.is_down, provider.keys = False, kept


ODD_KEYS: list[Any] = [
    *(None, 7, "key", [], {}, {"kty": "RSA"}, {"kty": ["RSA"]}, {"kty": "RSA", "use": ["sig"]}),
    *({"kty": "RSA", "kid": "r", "n": 7, "e": [], "use": "sig"}, {"kty": "RSA", "n": "!", "e": "AQAB"}),
    *({"kty": "EC", "kid": "e", "crv": "P-0", "x": "AA", "y": "AA"}, {"kty": "EC", "crv": {}, "x": None, "y": True}),
    {"kty": "oct", "kid": "o", "k": "c2VjcmV0" * 8},
]


def test_keys_of_the_wrong_type_do_not_stop_the_others(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(provider.ca_file))
    good = provider.keys[0].public()
    monkeypatch.setattr(provider, "more_keys", [*ODD_KEYS, {**good, "kid": ["x"]}, {**good, "kid": {"x": 1}}])
    issuer = Issuer(IssuerSettings(audience=(AUDIENCE,), tenant=TENANT, authority=provider.url))
    for key in provider.keys:
        assert issuer.check(provider.token(key))["aud"] == AUDIENCE
    secret = jwt.encode(provider.claims(), "secret" * 8, algorithm="HS256", headers={"kid": "o"})
    for kid in ("r", "e", "o"):
        with pytest.raises(TokenError):
            issuer.check(provider.token(headers={"kid": kid}))
    with pytest.raises(TokenError):
        issuer.check(secret)


def test_made_up_key_ids_do_not_have_the_provider_asked(service: ServiceProcess, provider: IdentityProvider) -> None:
    before = len(provider.requests)
    for number in range(20):
        assert ask(service, provider.token(headers={"kid": f"made-up-{number}"})).status_code == 401
    assert len(provider.requests) - before <= 2


def test_without_the_provider_nobody_gets_in(
    provider: IdentityProvider, start_service: Callable[..., ServiceProcess]
) -> None:
    provider.is_down = True
    try:
        service = start_service(
            *arguments(provider, "--keys-pause", "0"), environment={"REQUESTS_CA_BUNDLE": str(provider.ca_file)}
        )
        answer = ask(service, provider.token())
        assert (answer.status_code, answer.json()["code"]) == (503, "IdentityProviderUnreachable")
        assert answer.headers["retry-after"]
    finally:
        provider.is_down = False
    assert ask(service, provider.token()).status_code == 200


def test_another_provider(provider: IdentityProvider, start_service: Callable[..., ServiceProcess]) -> None:
    service = start_service(
        *("--auth", "oidc", "--issuer", provider.issuer, "--audience", "x", "--audience", AUDIENCE),
        environment={"REQUESTS_CA_BUNDLE": str(provider.ca_file)},
    )
    assert ask(service, provider.token(tid=None, scp="ModelManagement.Read", roles=None)).status_code == 200
    assert ask(service, provider.token(aud="y")).status_code == 401


class TestTheNetwork:
    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            (["--host", "0.0.0.0"], "--allow-shared-token"),
            (["--host", "0.0.0.0", "--allow-shared-token"], "--allow-plain-http"),
            (["--host", "0.0.0.0", "--auth", "aad", "--tenant", "t", "--audience", "a"], "--allow-plain-http"),
            (["--auth", "aad", "--tenant", "t"], "--audience"),
            (["--auth", "oidc", "--audience", "t"], "--issuer"),
            (["--tenant", "t"], "--auth"),
            (["--tls-cert", "x"], "--tls-key"),
            (["--grant", "owner=me"], "--grant"),
            (["--auth", "aad", "--tenant", "t", "--audience", "a", "--grant", "owner=me"], "contributor=WHO"),
            (["--tls-cert", "/nowhere/c.pem", "--tls-key", "/nowhere/k.pem"], "The certificate cannot be used"),
        ],
    )
    def test_what_is_refused(self, arguments: list[str], field: str, tmp_path: Path) -> None:
        done = forks.run("serve", "--home", tmp_path / "home", *arguments)
        assert done.returncode == 1
        assert field in done.stderr
        assert "Traceback" not in done.stderr

    def test_tls(
        self,
        provider: IdentityProvider,
        start_service: Callable[..., ServiceProcess],
        write_driver: Callable[..., Path],
        tmp_path: Path,
    ) -> None:
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        certificate.write_bytes(b"".join(blob.bytes() for blob in provider.certificate.cert_chain_pems))
        key.write_bytes(provider.certificate.private_key_pem.bytes())
        service = start_service("--tls-cert", str(certificate), "--tls-key", str(key))
        assert service.base_url.startswith("https://127.0.0.1:")
        service.trust(provider.ca_file)
        image = service.image(write_driver("import json\ndef run(body):\n    return json.loads(body)\n"))
        served = service.service(image["id"])
        # Its own port is only for loopback; other machines use the port with the certificate.
        assert served["scoringUri"] == f"{service.base_url.partition('/api/')[0]}/api/v1/service/iris/score"
        answer = service.score(served, "[1]", verify=str(provider.ca_file))
        assert (answer.status_code, answer.json()) == (200, [1])
        # Programs of this machine find it, whatever name the certificate is for.
        found = local.find(service.home)
        assert found is not None
        assert found.base_url == service.base_url
        with connect(home=service.home) as ws:
            assert [s.name for s in ws.services.list()] == ["iris"]
            assert ws.services.run("iris", [2]) == [2]
            with pytest.raises(TransportError, match="is not trusted"):
                connect(base_url=service.base_url, token=service.token).models.list().to_frame()


@pytest.fixture(scope="module")
def audited(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Yield a separate service for audit log tests: the other one has too many refused requests to record."""
    environment = {"REQUESTS_CA_BUNDLE": str(provider.ca_file)}
    service = ServiceProcess(tmp_path_factory.mktemp("audit") / "home", *arguments(provider), environment=environment)
    yield service
    service.stop()


class TestAudit:
    def test_who_did_what(self, audited: ServiceProcess, provider: IdentityProvider) -> None:
        token = provider.token(oid="0a0a0a0a-0000-0000-0000-00000000000b", preferred_username="grace@example.org")
        model = ask(audited, token, "POST", json=MODEL).json()
        ask(audited, provider.token(roles=["Reader"]), "POST", json=MODEL)
        ask(audited, token, "POST", json={})
        entries = ask(audited, token, path=f"{TEAM}/audit").json()["value"]
        wrong, refused, made = entries[:3]
        assert made["principalName"] == "grace@example.org"
        assert made["principalId"] == "0a0a0a0a-0000-0000-0000-00000000000b"
        assert (made["action"], made["resourceId"], made["statusCode"]) == ("models_register", model["id"], 200)
        assert made["address"] == "127.0.0.1"
        assert (refused["statusCode"], refused["code"]) == (403, "Forbidden")
        assert (wrong["statusCode"], wrong["code"]) == (400, "BadRequest")
        assert ask(audited, token, path=f"{OTHER}/audit").json()["value"] == []

    def test_who_was_not_let_in(self, audited: ServiceProcess, provider: IdentityProvider) -> None:
        assert ask(audited, provider.token(exp=1), "DELETE", f"{TEAM}/services/x").status_code == 401
        entry = ask(audited, provider.token(), path=f"{TEAM}/audit").json()["value"][0]
        assert (entry["statusCode"], entry["code"], entry["action"]) == (401, "Unauthorized", "DELETE")
        assert "principalName" not in entry

    def test_pages_and_filters(self, audited: ServiceProcess, provider: IdentityProvider) -> None:
        token = provider.token()
        made = [ask(audited, token, "POST", json=MODEL).json()["id"] for _ in range(5)]
        origin = audited.base_url.partition("/api/")[0]
        seen: list[str] = []
        path: str | None = f"{TEAM}/audit?count=2&action=models_register"
        while path is not None:
            page = ask(audited, token, path=path).json()
            assert len(page["value"]) <= 2
            seen += [entry.get("resourceId", "") for entry in page["value"]]
            path = page["nextLink"].removeprefix(origin) if "nextLink" in page else None
        assert seen[:5] == made[::-1]
        found = ask(audited, token, path=f"{TEAM}/audit?resourceId={made[2]}").json()["value"]
        assert [entry["resourceId"] for entry in found] == [made[2]]
        assert ask(audited, token, path=f"{TEAM}/audit?$skipToken=zzz").status_code == 400

    def test_refusals_do_not_fill_the_disk(self, service: ServiceProcess) -> None:
        log = service.home / "logs" / "audit"

        def refused() -> int:
            lines = b"".join(path.read_bytes() for path in log.glob("*")).splitlines()
            return sum(json.loads(line)["statusCode"] == 401 for line in lines)

        before = refused()
        for _ in range(300):
            ask(service, "wrong")
        assert refused() - before <= 2 * 100  # the requests may be in two minutes
        assert all(os.stat(path).st_mode & 0o077 == 0 for path in log.iterdir())

    def test_no_token_is_in_any_file(self, audited: ServiceProcess, provider: IdentityProvider) -> None:
        canary = provider.token(roles=["Reader"], canary="canary")
        for method in ("GET", "POST", "PUT", "DELETE"):
            ask(audited, canary, method, json=MODEL)
        ask(audited, canary[:-4] + "AAAA")
        output = audited.home.with_name(audited.home.name + ".output")
        parts = canary.split(".")

        def files() -> bytes:
            found = [path for path in audited.home.rglob("*") if path.is_file()]
            return b"".join(path.read_bytes() for path in [*found, output])

        assert eventually(lambda: b"models_register" in files())
        assert not [part for part in parts[1:] if part.encode() in files()]
