"""Signing in with azure-identity's own code at an identity provider, to a service that checks the tokens."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msal
import pytest
import trustme
from azure.identity import CredentialUnavailableError

from mlmgmt_nb import connect
from mlmgmt_nb.client import SignIn
from mlmgmt_nb.client.auth.az_cache import AzCache
from mlmgmt_nb.client.auth.clouds import scope_of
from mlmgmt_nb.commands import main
from mlmgmt_nb.errors import SignInError, UnauthorizedError, UsageError
from tests.conftest import ServiceProcess
from tests.support.components import missing
from tests.support.oidc import AUDIENCE, TENANT, IdentityProvider, running
from tests.support.waiting import eventually

SCOPE = f"{AUDIENCE}/.default"
APPLICATION = "aaaaaaaa-0000-0000-0000-000000000001"
SECRET = "canary-client-secret"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with running(tmp_path_factory.mktemp("provider")) as provider:
        provider.secrets[APPLICATION] = SECRET
        provider.roles[APPLICATION] = ["Contributor"]
        yield provider


@pytest.fixture(scope="module")
def service(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    service = ServiceProcess(
        tmp_path_factory.mktemp("signin") / "home",
        *(
            "--auth",
            "aad",
            "--tenant",
            TENANT,
            "--authority",
            provider.url,
            "--audience",
            AUDIENCE,
            "--keys-pause",
            "0",
        ),
        environment={"REQUESTS_CA_BUNDLE": str(provider.ca_file)},
    )
    yield service
    service.stop()


@pytest.fixture(autouse=True)
def environment(provider: IdentityProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own sign-ins and settings; the provider's certificate is trusted."""
    for name in (
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "MLMGMT_TOKEN",
        "MLMGMT_BASE_URL",
        "MLMGMT_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(provider.ca_file))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "azure"))
    monkeypatch.setenv("MLMGMT_CONFIG", str(tmp_path / "config.toml"))


def run(*words: str) -> str:
    """Return what a command prints."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    assert code == 0, err.getvalue()
    return out.getvalue()


def principal(provider: IdentityProvider, **changes: Any) -> SignIn:
    given = {"method": "service-principal", "tenant": TENANT, "client_id": APPLICATION, "authority": provider.url}
    return SignIn(**{**given, **changes})


class TestServicePrincipal:
    def test_with_a_secret(
        self, service: ServiceProcess, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        with connect(base_url=service.base_url, sign_in=principal(provider), scope=SCOPE) as workspace:
            assert list(workspace.models.list()) == []
            who = workspace.whoami()
            assert (who.id, who.role, who.tenant) == (APPLICATION, "Contributor", TENANT)
            asked = provider.requests.count(f"/{TENANT}/oauth2/v2.0/token")
            threads = [threading.Thread(target=lambda: list(workspace.models.list())) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert provider.requests.count(f"/{TENANT}/oauth2/v2.0/token") == asked  # all share one token

    def test_with_the_environment_alone(
        self, service: ServiceProcess, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "AZURE_CLIENT_ID": APPLICATION,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_SECRET": SECRET,
            # The chain goes no further here: it would look for the identity of a virtual machine.
            "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        }.items():
            monkeypatch.setenv(name, value)
        sign_in = SignIn(authority=provider.url)
        with connect(base_url=service.base_url, sign_in=sign_in, scope=SCOPE) as workspace:
            assert workspace.whoami().role == "Contributor"

    def test_with_a_certificate(self, service: ServiceProcess, provider: IdentityProvider, tmp_path: Path) -> None:
        issued = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert(
            "application.example", key_type=trustme.KeyType.RSA
        )
        pem = tmp_path / "application.pem"
        pem.write_bytes(issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes())
        application = "aaaaaaaa-0000-0000-0000-000000000002"
        provider.certificates[application] = issued.cert_chain_pems[0].bytes()
        provider.roles[application] = ["Reader"]
        sign_in = principal(provider, client_id=application, certificate=str(pem))
        with connect(base_url=service.base_url, sign_in=sign_in, scope=SCOPE) as workspace:
            assert workspace.whoami().role == "Reader"
            with pytest.raises(UnauthorizedError, match="has the role Reader"):
                workspace.models.register("https://a.example/model.pkl", name="iris")

    def test_with_a_wrong_secret(
        self, service: ServiceProcess, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong-canary")
        workspace = connect(base_url=service.base_url, sign_in=principal(provider), scope=SCOPE)
        with workspace, pytest.raises(SignInError, match="Invalid client secret") as failed:
            workspace.models.list().to_frame()
        assert "wrong-canary" not in "".join(traceback.format_exception(failed.value))

    def test_for_a_wrong_scope(
        self, service: ServiceProcess, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        workspace = connect(base_url=service.base_url, sign_in=principal(provider), scope="api://else/.default")
        with workspace, pytest.raises(SignInError, match="AADSTS70011"):
            workspace.models.list().to_frame()


def test_device_code(service: ServiceProcess, provider: IdentityProvider) -> None:
    shown: list[str] = []

    def prompt(text: str) -> None:
        shown.append(text)
        provider.approved.update(provider.pending)  # somebody opens the page and enters the code

    sign_in = SignIn(method="device-code", tenant=TENANT, client_id=APPLICATION, authority=provider.url)
    credential = sign_in.credential(prompt=prompt, may_ask=True)
    with connect(base_url=service.base_url, credential=credential, scope=SCOPE) as workspace:
        who = workspace.whoami()
        assert (who.name, who.role) == ("ada@example.org", "Contributor")
    assert shown == [f"To sign in, open {provider.url}/device in a browser and enter the code ABCD1234."]


def test_a_token_that_is_refused_is_renewed_once(service: ServiceProcess, provider: IdentityProvider) -> None:
    class Credential:
        def __init__(self) -> None:
            self.asked: list[dict[str, Any]] = []
            self.changes: dict[str, Any] = {"exp": 1}

        def get_token(self, *scopes: str, **options: Any) -> Any:
            self.asked.append(options)
            token = provider.token(**(self.changes if len(self.asked) == 1 else {}))
            return type("Token", (), {"token": token, "expires_on": time.time() + 3600})

    credential = Credential()
    with connect(base_url=service.base_url, credential=credential) as workspace:
        assert list(workspace.models.list()) == []
        assert len(credential.asked) == 2
        list(workspace.models.list())
        assert len(credential.asked) == 2
    never = Credential()
    never.get_token = lambda *_, **__: type("Token", (), {"token": "opaque", "expires_on": 2**33})  # type: ignore[method-assign]
    with connect(base_url=service.base_url, credential=never) as workspace, pytest.raises(UnauthorizedError):
        list(workspace.models.list())


class TestTheCacheOfAz:
    def older(self, folder: Path, provider: IdentityProvider, **changes: Any) -> Path:
        entry = {
            "tokenType": "Bearer",
            "expiresOn": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(time.time() + 3000)),
            "resource": "https://management.core.windows.net/",
            "accessToken": "older-token",
            "refreshToken": "older-refresh",
            "_clientId": APPLICATION,
            "_authority": f"{provider.url}/{TENANT}",
            "isMRRT": True,
            **changes,
        }
        folder.mkdir(exist_ok=True)
        (folder / "accessTokens.json").write_text(json.dumps([{"resource": "https://else/"}, entry]), "utf-8-sig")
        return folder

    def test_tokens_of_2017(self, provider: IdentityProvider, tmp_path: Path) -> None:
        cache = AzCache(TENANT, self.older(tmp_path, provider))
        assert cache.get_token("https://management.azure.com/.default").token == "older-token"
        with pytest.raises(CredentialUnavailableError):
            AzCache("another-tenant", tmp_path).get_token("https://management.azure.com/.default")
        with pytest.raises(CredentialUnavailableError):
            cache.get_token("https://vault.azure.net/.default")

    def test_those_that_have_expired_are_renewed(self, provider: IdentityProvider, tmp_path: Path) -> None:
        folder = self.older(tmp_path, provider, expiresOn="2017-10-05 12:00:00.123456")
        before = (folder / "accessTokens.json").read_bytes()
        found = AzCache(None, folder).get_token("https://management.azure.com/.default")
        assert found.token.startswith("eyJ")
        assert found.expires_on > time.time() + 3000
        assert (folder / "accessTokens.json").read_bytes() == before

    def test_the_present_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        scope = "https://management.azure.com/.default"
        try:
            # Such a cache has the name of the authority without its port.
            provider_there = running(tmp_path, port=443)
            provider = provider_there.__enter__()
        except OSError:
            missing("the port 443 of this machine", "run as root, with nothing else at it")
        with ExitStack() as stack:
            stack.push(provider_there)
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(provider.ca_file))
            cache = msal.SerializableTokenCache()
            az = msal.PublicClientApplication(
                "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
                authority=f"https://localhost/{TENANT}",
                token_cache=cache,
                instance_discovery=False,
            )
            flow = az.initiate_device_flow(scopes=[scope])
            provider.approved.add(flow["device_code"])
            first = az.acquire_token_by_device_flow(flow)["access_token"]
            file = tmp_path / "msal_token_cache.json"
            file.write_text(cache.serialize())
            assert AzCache(TENANT, tmp_path).get_token(scope).token == first
            with pytest.raises(CredentialUnavailableError):
                AzCache("another-tenant", tmp_path).get_token(scope)
            # An hour later only its refresh token is still good.
            content = json.loads(file.read_text())
            for entry in content["AccessToken"].values():
                entry["expires_on"] = "1"
            file.write_text(json.dumps(content))
            renewed = AzCache(TENANT, tmp_path).get_token(scope).token
            assert renewed.startswith("eyJ")
            assert renewed != first

    @pytest.mark.parametrize("content", ["", "nonsense", "[1]", "{}", '[{"resource": 1}]'])
    def test_broken_files_count_as_none(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "accessTokens.json").write_text(content)
        with pytest.raises(CredentialUnavailableError):
            AzCache(None, tmp_path).get_token("https://management.azure.com/.default")


class TestCommands:
    def test_the_same_commands_elsewhere_by_a_profile(
        self, service: ServiceProcess, provider: IdentityProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        origin = service.base_url.partition("/api/")[0]
        run(
            *("account", "create", "-n", "team", "--base-url", origin), *("-s", "s1", "-g", "g1", "--account", "models")
        )
        signed_in = run(
            *("login", "--service-principal", "-t", TENANT, "-u", APPLICATION),
            *("--authority", provider.url, "--scope", SCOPE),
        )
        assert APPLICATION in signed_in
        # Another process: only the profile is left, and the secret in its environment.
        done = subprocess.run(
            [sys.executable, "-m", "mlmgmt_nb.cli", "whoami", "-o", "json"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        rows = {row["name"]: row["value"] for row in json.loads(done.stdout)}
        assert (rows["role"], rows["account"]) == ("Contributor", "models")
        run("model", "register", "--model", "https://a.example/model.pkl", "--name", "iris")
        assert "iris" in run("model", "list")
        entries = json.loads(run("audit", "list", "-o", "json"))
        assert [entry["action"] for entry in entries] == ["models_register"]
        assert entries[0]["principalId"] == APPLICATION
        assert "/subscriptions/s1/resourceGroups/g1/accounts/models" in run("account", "show", "-o", "json")
        assert "sign_in" in run("config", "show")
        config = (tmp_path / "config.toml").read_text()
        assert SECRET not in config + signed_in + done.stdout + done.stderr
        assert "eyJ" not in config + signed_in + done.stdout + done.stderr
        run("logout")
        assert "sign_in" not in (tmp_path / "config.toml").read_text()

    def test_whoami_at_the_embedded_service(self, shared_service: ServiceProcess) -> None:
        rows = json.loads(run("whoami", "--home", str(shared_service.home), "-o", "json"))
        assert {"name": "role", "value": "Contributor"} in rows

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--service-principal"], "tenant is missing"),
            (["--service-principal", "-t", "t"], "client_id is missing"),
            (["--service-principal", "-t", "t", "-u", "u"], "cannot prompt for it"),
            (["--service-principal", "-t", "t", "-u", "u", "--certificate", "/nowhere"], "file not found: /nowhere"),
            (["--service-principal", "--device-code"], "cannot be combined"),
        ],
    )
    def test_what_is_wrong_is_said(self, words: list[str], message: str) -> None:
        err = io.StringIO()
        with redirect_stderr(err):
            assert main(["login", *words]) != 0
        assert message in err.getvalue()
        assert "Traceback" not in err.getvalue()


class TestConnect:
    def test_the_account_by_its_parts(self, shared_service: ServiceProcess) -> None:
        with connect(home=shared_service.home, account="by-parts", subscription="s 1") as workspace:
            assert workspace.base_url.endswith("/subscriptions/s%201/resourceGroups/local/accounts/by-parts")
            assert list(workspace.models.list()) == []

    def test_at_a_server(self) -> None:
        with connect(base_url="http://localhost:1", subscription="s", resource_group="g", account="a") as workspace:
            assert workspace.base_url == "http://localhost:1/api/subscriptions/s/resourceGroups/g/accounts/a"
        with connect(base_url=f"{workspace.base_url}/", account="b") as workspace:
            assert workspace.base_url.endswith("/resourceGroups/g/accounts/b")

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"base_url": "http://localhost:1", "account": "a"}, "subscription"),
            ({"base_url": "http://localhost:1", "account": "a", "subscription": "s"}, "resource_group"),
            ({"base_url": "http://far.example/api/x/accounts/a"}, "base_url"),
            ({"base_url": "https://far.example/accounts/a", "token": "t", "sign_in": SignIn()}, "token"),
            ({"sign_in": SignIn()}, "sign_in"),
        ],
    )
    def test_what_does_not_go_together(self, given: dict[str, Any], field: str) -> None:
        with pytest.raises(UsageError) as failed:
            connect(**given)
        assert failed.value.field == field

    def test_scopes_of_the_clouds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AZURE_AUTHORITY_HOST", raising=False)
        assert scope_of(None) == "https://management.azure.com/.default"
        assert scope_of("login.microsoftonline.us") == "https://management.usgovcloudapi.net/.default"
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn")
        assert scope_of(None) == "https://management.chinacloudapi.cn/.default"


def test_a_notebook_has_no_secret(
    service: ServiceProcess, provider: IdentityProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbclient
    import nbformat

    monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [
        f"%load_ext mlmgmt_nb\n%mlmgmt account create -n away --base-url {service.base_url}",
        f"%mlmgmt login --service-principal -t {TENANT} -u {APPLICATION} --authority {provider.url} --scope {SCOPE}",
        "%mlmgmt whoami",
        "%mlmgmt",
        "%mlmgmt model list",
        "%mlmgmt model show -m nobody",
        "%mlmgmt last-error",
        "%mlmgmt login --service-principal -t t -u u --authority https://localhost:1",
        "%mlmgmt last-error",
        "%mlmgmt config show",
    ]
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=made)  # type: ignore[no-untyped-call]
    ran = nbclient.NotebookClient(notebook, timeout=120, allow_errors=True).execute()
    saved = nbformat.writes(ran)  # type: ignore[no-untyped-call]
    assert APPLICATION in saved
    assert "Contributor" in saved
    assert not [part for part in (SECRET, "eyJ") if part in saved]


def test_no_secret_stays_anywhere(service: ServiceProcess, provider: IdentityProvider, tmp_path: Path) -> None:
    """Logs, state and the arguments of processes, after all that the other tests did."""
    canaries = [SECRET.encode(), service.token.encode(), b"older-refresh"]
    allowed = service.home / "token"

    def files() -> list[Path]:
        output = service.home.with_name(service.home.name + ".output")
        return [path for path in service.home.rglob("*") if path.is_file() and path != allowed] + [output]

    assert eventually(files)
    for path in files():
        content = path.read_bytes()
        assert not [canary for canary in canaries if canary in content], path
        assert path.name == "reserve" or b"eyJ" not in content, path  # the reserve has random bytes
    processes = [process for process in [*service.children()] if process.is_running()]
    words = b"\0".join(" ".join(process.cmdline()).encode() for process in processes)
    assert not [canary for canary in canaries if canary in words]
