"""Health checks of the Model Management service: without a sign-in, and with a database that really goes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from tests.conftest import ServiceProcess
from tests.support.postgresql import PostgreSQL
from tests.support.waiting import eventually


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    """Start a PostgreSQL server that the test may stop."""
    started = PostgreSQL()
    yield started
    started.remove()


def asked(api: ServiceProcess, path: str, method: str = "GET", **headers: str) -> requests.Response:
    """Return the response to a request without a token."""
    return requests.request(method, api.base_url.partition("/api/")[0] + path, headers=headers, timeout=30)


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_probes_need_neither_a_token_nor_a_known_host(api: Any, path: str) -> None:
    for headers in ({}, {"host": "10.1.2.3:8443"}):
        answer = asked(api, path, **headers)
        assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
        assert answer.headers["cache-control"] == "no-store"
    head = asked(api, path, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    refused = asked(api, path, "POST")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_other_paths_of_health_checks_do_not_exist(api: Any) -> None:
    assert asked(api, "/health/other").status_code == 401
    assert asked(api, "/", host="10.1.2.3").status_code == 403


def test_a_service_without_its_database_is_alive_and_not_ready(
    start_service: Callable[..., Any], tmp_path: Path, database: PostgreSQL
) -> None:
    api = start_service("--database", database.database("health"), home=tmp_path / "home")
    assert asked(api, "/health/ready").status_code == 200
    database.stop()
    eventually(lambda: asked(api, "/health/ready").status_code == 503, what="the end of readiness")
    refused = asked(api, "/health/ready")
    assert (refused.json()["code"], refused.headers["cache-control"]) == ("NotReady", "no-store")
    assert "postgresql" not in refused.text
    assert asked(api, "/health/live").status_code == 200
    database.start()
    eventually(lambda: asked(api, "/health/ready").status_code == 200, what="readiness")


def test_probes_over_tls(start_service: Callable[..., Any], tmp_path: Path) -> None:
    """A kubelet does not verify the certificate, and asks by the address of the pod."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    api = start_service(
        *("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")), home=tmp_path / "home"
    )
    url = api.base_url.partition("/api/")[0].replace("127.0.0.1", "localhost")
    assert url.startswith("https://")
    for path in ("/health/live", "/health/ready"):
        answer = requests.get(
            url + path, headers={"host": "10.1.2.3:8443"}, verify=str(tmp_path / "ca.pem"), timeout=30
        )
        assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
