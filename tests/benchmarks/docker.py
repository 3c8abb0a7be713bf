"""Compare compute `docker` with compute `local`: builds, the first answer, and scoring by one replica.

Run it as root with `python -m tests.benchmarks.docker`; it starts a Docker engine unless one runs. `forwarded` is the
cost of a remote engine: there, the service forwards the bytes, while local containers get the socket itself.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import docker

from tests.benchmarks.scoring_load import Load, run_load
from tests.benchmarks.table import show
from tests.conftest import ServiceProcess
from tests.support.engine import BASE, EngineProcess, import_base

ROUNDS = 3
SECONDS = 4.0
DRIVER = "def init():\n    pass\n\n\ndef run(body):\n    return body\n"
COMPUTES = {"local": ("local", {}), "docker": ("docker", {}), "forwarded": ("docker", {"MLMGMT_DOCKER_FORWARD": "1"})}


def main() -> None:
    with tempfile.TemporaryDirectory() as top, EngineProcess(Path(top)):
        api = docker.APIClient(version="auto", timeout=120)
        import_base(api)
        measured = {}
        for name, (compute, environment) in COMPUTES.items():
            folder = Path(top, f"on-{name}")
            folder.mkdir()
            service = ServiceProcess(folder / "home", "--base-image", BASE, environment=environment)
            try:
                measured[name] = _measure(service, compute, folder, api)
            finally:
                service.stop()
        api.close()
    rows = [
        [what, *[one[what] for one in measured.values()], measured["docker"][what] / measured["local"][what]]
        for what in measured["local"]
    ]
    show(f"Compute docker (medians of {ROUNDS})", ["", *COMPUTES, "docker/local"], rows)


def _measure(service: ServiceProcess, compute: str, folder: Path, api: Any) -> dict[str, float]:
    """Return seconds and rates by name."""
    builds, firsts = [], []
    made: Any = None
    for number in range(ROUNDS + 1):
        model = folder / f"{number}" / "model.bin"
        model.parent.mkdir()
        model.write_bytes(bytes([number]) * 2**20)
        driver = folder / "driver"
        driver.mkdir(exist_ok=True)
        (driver / "score.py").write_text(DRIVER)
        registered = service.model(url=model.as_uri())
        manifest = service.manifest(driver, registered["id"])
        began = time.perf_counter()
        image = _image(service, manifest["id"], compute)
        builds.append(time.perf_counter() - began)
        where = {"id": compute, "type": "Cluster"}
        made = service.service(image["id"], f"bench-{number}", computeResource=where)
        assert service.score(made, "1").status_code == 200
        firsts.append(time.perf_counter() - began)
        if number < ROUNDS:
            service.request("DELETE", f"/services/{made['id']}")
    load = _load(service, made, compute, api)
    return {
        "build, nothing cached, s": builds[0],
        "build, only the model changed, s": median(builds[1:]),
        "from image request to first answer, s": median(firsts[1:]),
        "requests a second, one replica": load.rate,
        "CPU of the replica, s per 1,000 requests": load.cpu_per_1000,
        "p50, ms": load.p50_ms,
        "p99, ms": load.p99_ms,
    }


def _image(service: ServiceProcess, manifest_id: str, compute: str) -> Any:
    request = {"name": "bench", "manifestId": manifest_id, "imageType": "Docker", "computeResourceId": compute}
    ended = service.operation(service.request("POST", "/images", json=request), timeout=170)
    assert ended["state"] == "Succeeded", ended
    return service.get("/images/" + ended["resourceLocation"].rpartition("/")[2])


def _load(service: ServiceProcess, made: Any, compute: str, api: Any) -> Load:
    key = service.get(f"/services/{made['id']}/keys")["primaryKey"]
    url = urlsplit(made["scoringUri"])
    assert url.port is not None
    pid = _container(service, api) if compute == "docker" else _replica(service, made)
    headers = f"Authorization: Bearer {key}\r\n"
    return run_load(pid, url.port, url.path, b"[1]", seconds=SECONDS, connections=4, headers=headers)


def _container(service: ServiceProcess, api: Any) -> int:
    home = (service.home / "id").read_text()
    found = api.containers(filters={"label": f"mlmgmt-nb.home={home}"})
    return max(int(api.inspect_container(one["Id"])["State"]["Pid"]) for one in found if "bench-3" in one["Names"][0])


def _replica(service: ServiceProcess, made: Any) -> int:
    return next(child.pid for child in service.children() if made["image"]["id"] in child.cwd())


if __name__ == "__main__":
    main()
