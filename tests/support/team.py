"""A team server with sign-in on this machine, for the notebook about remote accounts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mlmgmt_nb import connect, local
from mlmgmt_nb.commands.config import Config
from tests.conftest import ServiceProcess
from tests.support.oidc import AUDIENCE, TENANT, IdentityProvider, running

__all__ = ["Team", "team"]

_APPLICATION = "aaaaaaaa-0000-0000-0000-000000000001"
_SECRET = "canary-secret-of-the-team"
_ACCOUNT = "/api/subscriptions/s1/resourceGroups/research/accounts/team"


class Team(NamedTuple):
    """A team server, and the credentials of an application that may do everything and of a user who may only read.

    Attributes:
        server: has the account.
        config: the configuration file, with profiles `team` and `team-reader`.
        secret: secret of the application.
        environment: environment variables that point to the configuration and the credentials.
    """

    server: ServiceProcess
    config: Path
    secret: str
    environment: dict[str, str]

    def services(self) -> list[Any]:
        """Return the services of the account and those of the embedded service."""
        origin = self.server.base_url.partition("/api/")[0]
        home = Config(self.config, {}).settings({})["home"].value
        here = connect(home=home).services.list()
        return [*self.server.get(f"{origin}{_ACCOUNT}/services")["value"], *here]


@contextmanager
def team(folder: Path) -> Iterator[Team]:
    """Yield the server, with an identity provider instead of Azure AD, and the state folder of an embedded service."""
    with running(folder) as provider:
        provider.secrets[_APPLICATION] = _SECRET
        provider.roles[_APPLICATION] = ["Contributor"]
        server = _server(provider, folder)
        try:
            config = _profiles(server, folder)
            environment = {
                "MLMGMT_CONFIG": str(config),
                "MLMGMT_TENANT": TENANT,
                "MLMGMT_CLIENT_ID": _APPLICATION,
                "MLMGMT_AUTHORITY": provider.url,
                "MLMGMT_SCOPE": f"{AUDIENCE}/.default",
                "AZURE_CLIENT_SECRET": _SECRET,
                "AZURE_CONFIG_DIR": str(_az_login(provider, folder)),
                "REQUESTS_CA_BUNDLE": str(provider.ca_file),
            }
            yield Team(server, config, _SECRET, environment)
        finally:
            server.stop()
            local.stop(folder / "home")


def _server(provider: IdentityProvider, folder: Path) -> ServiceProcess:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    provider.certificate.private_key_pem.write_to_path(key)
    provider.certificate.cert_chain_pems[0].write_to_path(certificate)
    server = ServiceProcess(
        folder / "server",
        *("--auth", "aad", "--tenant", TENANT, "--authority", provider.url, "--audience", AUDIENCE),
        *("--tls-cert", str(certificate), "--tls-key", str(key)),
        environment={"REQUESTS_CA_BUNDLE": str(provider.ca_file)},
        sqlite=True,
    )
    server.trust(provider.ca_file)
    return server


def _profiles(server: ServiceProcess, folder: Path) -> Path:
    """Return a configuration file with two profiles for the account: one for the application, one for the user.

    The state folder of the embedded service is in the profile `default`: an environment variable would override all
    profiles.
    """
    parts = urlsplit(server.base_url)
    config = Config(folder / "config.toml", {})
    config.set("default", {"home": str(folder / "home")})
    named = {"subscription": "s1", "resource_group": "research", "account": "team"}
    for name in ("team", "team-reader"):
        config.set(name, {"base_url": f"https://localhost:{parts.port}", **named})
    return config.path


def _az_login(provider: IdentityProvider, folder: Path) -> Path:
    """Return a configuration folder of `az` in which a reader is signed in."""
    expires = time.localtime(time.time() + provider.lifetime)
    entry = {
        "resource": AUDIENCE,
        "accessToken": provider.token(roles=["Reader"]),
        "expiresOn": time.strftime("%Y-%m-%d %H:%M:%S.000000", expires),
        "_authority": f"{provider.url}/{TENANT}",
    }
    path = folder / "azure" / "accessTokens.json"
    path.parent.mkdir()
    path.write_text(json.dumps([entry]))
    return path.parent
