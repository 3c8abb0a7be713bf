"""Changes of services whose replicas are containers: canaries, promotions, rollbacks and recorded requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import ServiceProcess
from tests.integration.docker.helpers import build, containers, score, serve
from tests.support.waiting import eventually

SAYS = "import socket\n\ndef init():\n    pass\n\ndef run(body):\n    return [{word!r}, socket.gethostname()]\n"


def test_a_canary_of_containers_is_exact_and_its_promotion_can_be_taken_back_at_once(
    service: ServiceProcess, engine: Any, write_driver: Callable[..., Path], name: str
) -> None:
    old, new = (build(service, write_driver(SAYS.format(word=word), word), f"{name}-{word}") for word in ("old", "new"))
    made = serve(service, old, name, recording={"enabled": True, "redact": ["card"]})
    path = f"/services/{made['id']}"
    first = score(service, made)
    proposed = service.request("PUT", f"{path}/candidate", json={"imageId": new["id"]})
    assert service.operation(proposed, timeout=120)["state"] == "Succeeded"

    steps = {"steps": [{"share": 20}], "maxP95": None}
    assert service.request("PUT", f"{path}/candidate/canary", json=steps).status_code == 200
    eventually(lambda: score(service, made)[0] == "new", 60, "the first answer of the candidate")
    said = Counter(score(service, made)[0] for _ in range(200))
    assert said == {"old": 160, "new": 40}

    second = score(service, service.get(f"{path}/candidate"))
    promoted = service.request("POST", f"{path}/candidate/promote", params={"keepWarm": "10"})
    assert service.operation(promoted, timeout=120)["state"] == "Succeeded"
    assert score(service, made) == second, "its container is handed over"
    back = service.request("POST", f"{path}/rollback")
    assert service.operation(back, timeout=120)["state"] == "Succeeded"
    assert score(service, made) == first, "the container was kept"
    eventually(lambda: len(containers(engine, service, ended=False)) == 1, 60, "the end of the other container")

    # Containers write what they recorded into the state folder, and it ends with the service.
    service.score(made, '{"card": "1234", "n": 5}')
    found = eventually(lambda: _recorded(service, path), 60, "the recorded requests")
    deployments = {one["id"] for one in service.get("/deployments", serviceId=made["id"])}
    assert {one["deploymentId"] for one in found["value"]} & deployments
    folder = service.home / "requests" / made["id"]
    written = b"".join(file.read_bytes() for file in folder.iterdir())
    assert b"1234" not in written
    assert service.request("DELETE", path).status_code == 200
    eventually(lambda: not folder.exists(), 60, "the end of the recorded requests")


def _recorded(service: ServiceProcess, path: str) -> Any:
    """Return the recorded requests once the last one is among them."""
    found = service.get(f"{path}/requests", last="1000")
    return found if any(one["redacted"] for one in found["value"]) else None
