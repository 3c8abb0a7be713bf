"""What tests of several rooms share: the embedded service as a real process, and whatever it needs to be watched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
import requests
from hypothesis import settings

from tests.support import forks, postgresql
from tests.support.environment import keep_bytecode, use_own_programs
from tests.support.held_back import HeldBack
from tests.support.schedule import LongestFirst, check_ids, number_of_workers, sort_longest_first
from tests.support.searches import IN_CI, fail_if_left_out, leave_to_ci
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.engine import EngineProcess

# Machines are shared: an example that takes long proves nothing. CI draws the same examples each time.
settings.register_profile("tests", deadline=None, derandomize=IN_CI)
settings.load_profile("tests")

use_own_programs()
keep_bytecode()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return LongestFirst(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return number_of_workers()


def pytest_sessionfinish() -> None:
    postgresql.remove_server()


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    check_ids(items)
    sort_longest_first(items)
    leave_to_ci(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_if_left_out(item, report)
    return report


API_VERSION = {"api-version": "2017-09-01-preview"}


def lives(process: psutil.Process) -> bool:
    """Whether a process has not ended. One that has ended may wait for the first process of a container to notice."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def database_arguments(home: Path) -> tuple[str, ...]:
    """Return what has a service on a state folder use the database that `MLMGMT_TEST_DATABASE` asks for.

    It is `sqlite`, the default, or `postgresql`: a server of the session, with a database for each folder.
    """
    match os.environ.get("MLMGMT_TEST_DATABASE", "sqlite"):
        case "sqlite":
            return ()
        case "postgresql":
            return ("--database", postgresql.server().database_of(home))
    pytest.fail("MLMGMT_TEST_DATABASE is neither sqlite nor postgresql")


def mlmgmt(*arguments: object, code: int = 0) -> str:
    """Run a command; return what it printed."""
    done = forks.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


class ServiceProcess:
    """`mlmgmt serve` on a state folder, and plain HTTP requests to it."""

    def __init__(
        self, home: Path, *arguments: str, environment: dict[str, str] | None = None, sqlite: bool = False
    ) -> None:
        self.home = home
        chosen = () if sqlite or "--database" in arguments else database_arguments(home)
        self.arguments = (*arguments, *chosen)
        self.environment = environment or {}
        self._session = requests.Session()
        self._session.trust_env = False
        self._output = home.with_name(home.name + ".output")
        self.start()

    def start(self) -> None:
        words = ["serve", "--home", str(self.home), *self.arguments]
        with self._output.open("ab") as output:
            self.process = forks.start(words, output.fileno(), output.fileno(), self.environment)
        eventually(self._listens, 90, "the start of the service")  # on a busy machine
        self.base_url: str = self.described()["baseUrl"]
        self.token = (self.home / "token").read_text()

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            code = self.process.returncode
            pytest.fail(f"the service ended with code {code} at its start: {self._output.read_text()}")
        return bool(self.described())

    def trust(self, ca_file: Path) -> None:
        """Believes certificates that this one signed."""
        self._session.verify = str(ca_file)

    def described(self) -> dict[str, Any]:
        """Return what this process says about itself in the state folder; nothing before it listens."""
        for path in self.home.glob("service*.json"):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                described: dict[str, Any] = msgspec.json.decode(path.read_bytes())
                if described["pid"] == self.process.pid:
                    return described
        return {}

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Return a request to a path after the account, or to a whole URL."""
        url = path if "://" in path else self.base_url + path
        headers = {"authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        parameters = {**API_VERSION, **options.pop("params", {})}
        return self._session.request(method, url, headers=headers, params=parameters, timeout=30, **options)

    def get(self, path: str, **params: str) -> Any:
        answer = self.request("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.request("POST", path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def operation(self, answer: requests.Response, timeout: float = 60.0) -> dict[str, Any]:
        """Return the operation that a 202 points at, once it has ended."""
        assert answer.status_code == 202, answer.text
        url = answer.headers["Operation-Location"]
        return eventually(lambda: self._ended(url), timeout, "the end of the operation")

    def _ended(self, url: str) -> dict[str, Any] | None:
        operation: dict[str, Any] = self.request("GET", url).json()
        return operation if operation["state"] not in {"NotStarted", "Running"} else None

    def model(self, name: str = "iris", url: str = "file:///nowhere/model.pkl", **more: Any) -> Any:
        return self.post("/models", {"name": name, "url": url, "mimeType": "application/json", **more})

    def manifest(
        self,
        folder: Path,
        *model_ids: str,
        name: str = "iris",
        driver: str = "score.py",
        packages: Iterable[Path] = (),
        **more: Any,
    ) -> Any:
        """Return a manifest of all files in a folder; its requirements name `packages` as `./packages/N/FILE`."""
        assets = [{"id": f.name, "url": f.as_uri(), "mimeType": "text/plain"} for f in sorted(folder.iterdir())]
        for number, file in enumerate(packages, 1):
            assets.append({"id": f"packages/{number}", "url": file.as_uri(), "mimeType": "application/octet-stream"})
        runtime = {"runtimeType": "Python", "properties": more.pop("properties", {})}
        given = {"name": name, "assets": assets, "driverProgram": driver, "targetRuntime": runtime}
        return self.post("/manifests", {**given, "modelIds": list(model_ids), **more})

    def image(self, folder: Path, *model_ids: str, **more: Any) -> Any:
        """Return an image of a folder, built."""
        manifest = self.manifest(folder, *model_ids, **more)
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        ended = self.operation(self.request("POST", "/images", json=request))
        assert ended["state"] == "Succeeded", ended
        return self.get("/images/" + ended["resourceLocation"].rpartition("/")[2])

    def create(self, image_id: str, name: str = "iris", **more: Any) -> requests.Response:
        given = {"name": name, "imageId": image_id, "computeResource": {"id": "local", "type": "Cluster"}}
        return self.request("POST", "/services", json={**given, **more})

    def service(self, image_id: str, name: str = "iris", **more: Any) -> Any:
        """Return a service that runs."""
        ended = self.operation(self.create(image_id, name, **more))
        assert ended["state"] == "Succeeded", (ended, self.log(ended["resourceLocation"] + "/logs"))
        return self.get("/services/" + ended["resourceLocation"].rpartition("/")[2])

    def score(
        self,
        service: Any,
        body: str,
        key: str | None = None,
        *,
        session: requests.Session | None = None,
        **options: Any,
    ) -> requests.Response:
        """Return an answer to data, on a connection of its own unless a session is given."""
        key = key or self.get(f"/services/{service['id']}/keys")["primaryKey"]
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        post = session.post if session else requests.post
        return post(service["scoringUri"], data=body, headers=headers, timeout=30, **options)

    def log(self, url: str) -> str:
        return self.request("GET", url).text

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as an orderly stop does, and fails when a process of it stays."""
        if self.process.poll() is None:
            children = self.children()
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            assert self.process.returncode == 0, self._said()
            assert not [child for child in children if lives(child)], f"a process outlived its service: {self._said()}"

    def _said(self) -> str:
        """Return the end of its output, unless the disk with it has been removed."""
        try:
            return self._output.read_text(errors="replace")[-4000:]
        except OSError as error:
            return str(error)


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """Start services of the test's own; they are stopped when it ends."""
    started: list[ServiceProcess] = []

    def start(*arguments: str, home: Path | None = None, **options: Any) -> ServiceProcess:
        started.append(ServiceProcess(home or tmp_path / "home", *arguments, **options))
        return started[-1]

    yield start
    for service in started:
        service.stop()


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for all tests that do not mind each other's resources."""
    service = ServiceProcess(tmp_path_factory.mktemp("shared") / "home")
    yield service
    service.stop()


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a cache for `uv` that goes with the session.

    For packages of indexes of the tests: the ports of those differ each time, so that the user's cache would only grow.
    """
    folder = tmp_path_factory.mktemp("uv-cache")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def engine_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Yield the Docker engine of all tests."""
    from tests.support.engine import EngineProcess  # which imports this module

    with EngineProcess(tmp_path_factory.mktemp("engine")) as process:
        yield process


@pytest.fixture(scope="session")
def engine(engine_process: EngineProcess) -> Iterator[Any]:
    """Yield the client of that engine, which has the base image."""
    import docker

    from tests.support.engine import import_base

    api = docker.APIClient(version="auto", timeout=120)
    import_base(api)
    yield api
    api.close()


@pytest.fixture
def held_back() -> Iterator[HeldBack]:
    """Yield a model that no build gets before it may."""
    made = HeldBack()
    yield made
    made.close()


@pytest.fixture
def write_driver(tmp_path: Path) -> Callable[..., Path]:
    """Write a driver into a folder of its own and return the folder."""

    def write(source: str, name: str = "driver", **files: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "score.py").write_text(source)
        for file, content in files.items():
            (folder / file).write_text(content)
        return folder

    return write
