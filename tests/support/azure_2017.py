"""The parts of Azure that the command-line client of 2017 needs, on loopback: blobs, and the keys of a cluster."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["azure", "sign_in"]

_CLUSTER = "cluster1"
_SUBSCRIPTION, _TENANT, _USER = "11111111-2222-4333-8444-555555555555", "tenant", "ann@example.org"
_KEYS = {"storageAccount": {"resourceId": "/subscriptions/s/storageAccounts/mlmgmttest", "primaryKey": "a2V5"}}


class _Azure(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    blobs: dict[str, bytes] = {}

    def _send(self, status: int, body: bytes = b"", content_type: str = "application/octet-stream") -> None:
        self.send_response(status)
        headers = {"Content-Type": content_type, "Content-Length": str(len(body)), "ETag": '"1"'}
        for name, value in {**headers, "Last-Modified": self.date_time_string()}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.blobs[urlsplit(self.path).path] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(201)

    def do_GET(self) -> None:
        blob = self.blobs.get(urlsplit(self.path).path)
        self._send(404) if blob is None else self._send(200, blob)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(200, json.dumps(_KEYS).encode(), "application/json")

    def log_message(self, *_arguments: Any) -> None:
        """Write nothing."""


@contextmanager
def azure() -> Iterator[str]:
    """Serve blobs, and the keys of every cluster; yield the URL."""
    handler = type("Azure", (_Azure,), {"blobs": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def sign_in(home: Path, account_url: str, token: str) -> None:
    """Write the files of a client that is signed in and has set an account and a cluster.

    Args:
        home: the home folder of the client.
        account_url: the URL of the Model Management account.
        token: the token for the account, stored like a token of Azure.
    """
    folder = home / ".azure"
    folder.mkdir(parents=True)
    subscription = {
        "id": _SUBSCRIPTION,
        "name": "s",
        "tenantId": _TENANT,
        "state": "Enabled",
        "isDefault": True,
        "environmentName": "AzureCloud",
        "user": {"name": _USER, "type": "user"},
    }
    expires = time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(time.time() + 86400))
    entry = {
        "accessToken": token,
        "tokenType": "Bearer",
        "expiresOn": expires,
        "userId": _USER,
        "isMRRT": True,
        "resource": "https://management.core.windows.net/",
        "refreshToken": "r",
        "expiresIn": 86400,
        "_authority": f"https://login.microsoftonline.com/{_TENANT}",
        "_clientId": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
    }
    cluster = {
        "current_execution_mode": "cluster",
        "resource_group": "group",
        "name": _CLUSTER,
        "subscription": _SUBSCRIPTION,
    }
    files = {
        "azureProfile.json": {"subscriptions": [subscription], "installationId": "i"},
        "accessTokens.json": [entry],
        "viennaModelManagementAccountProfile.json": {
            "model_management_swagger_location": f"{account_url}/swagger.json"
        },
        "viennaOperationalizationComputeResource.json": cluster,
        "az.json": {},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
