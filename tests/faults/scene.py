"""What faults happen to: a service that is worked with and asked for answers all the time, and what must be true of it.

`Client` asks for all kinds of things and remembers what it was told; `Callers` score and remember what went wrong.
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests

from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.housekeeping import check
from tests.conftest import ServiceProcess
from tests.integration.service.drivers import at_front_door, replicas
from tests.integration.service.test_housekeeping import store_of, upload
from tests.support.waiting import eventually

DRIVER = "import os\ndef init():\n    pass\n\ndef run(body):\n    return {{'says': {says!r}, 'pid': os.getpid()}}\n"
HANG_SECONDS = 3.0
CALLERS = 4
PAUSE_SECONDS = 0.005
"""Pause between two requests of a caller: short enough to hit every moment, long enough for others."""


class Client:
    """Registers, builds, creates and updates, one after the other; what was answered is in its attributes.

    Args:
        folders: drivers for images.
        not_mine: id of an image whose services are left alone.
    """

    def __init__(self, service: ServiceProcess, folders: list[Path], not_mine: str = "") -> None:
        self.service = service
        self.folders = folders
        self._not_mine = not_mine
        self.models: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.operations: list[str] = []

    def work(self, stop: threading.Event) -> None:
        actions: list[Callable[[], object]] = [self.register, self.upload, self.build, self.create, self.update]
        chosen = random.Random(len(self.models))
        while not stop.is_set():
            try:
                chosen.choice(actions)()
            except requests.RequestException:
                # The service is dead: unconfirmed requests may or may not have taken effect.
                return

    def register(self, url: str = "file:///m") -> dict[str, Any]:
        answer = self.service.request("POST", "/models", json={"name": "m", "url": url, "mimeType": "a/b"})
        model: dict[str, Any] = answer.json()
        self.models[model["id"]] = model
        return model

    def upload(self) -> str:
        """Upload random content and register a model of it; return its digest."""
        content = os.urandom(random.Random(len(self.contents)).choice((10, 5000, 300_000)))
        url = upload(self.service, content)
        self.register(url)
        digest = url.partition("sha256/")[2][:64]
        self.contents[digest] = content
        return digest

    def build(self) -> None:
        folder = random.Random(len(self.operations)).choice(self.folders)
        manifest = self.service.manifest(folder)
        request = {"name": "iris", "manifestId": manifest["id"], "imageType": "Docker", "computeResourceId": "local"}
        self._begun(self.service.request("POST", "/images", json=request))

    def create(self) -> None:
        if (images := self._images()) and len(self._services()) < 2:
            self._begun(self.service.create(images[0]["id"], f"svc-{len(self.operations)}"))

    def update(self) -> None:
        images = self._images()
        for service in self._services()[:1]:
            self._begun(self.service.request("PUT", f"/services/{service['id']}", json={"imageId": images[0]["id"]}))

    def _images(self) -> list[Any]:
        images = self.service.get("/images")["value"]
        return [i for i in images if i["creationState"] == "Succeeded" and i["id"] != self._not_mine]

    def _services(self) -> list[Any]:
        return [s for s in self.service.get("/services")["value"] if s["image"]["id"] != self._not_mine]

    def _begun(self, answer: requests.Response) -> None:
        if answer.status_code == 202:
            self.operations.append(answer.headers["Operation-Location"].rpartition("/")[2])
        else:
            assert answer.status_code == 409, answer.text

    def check(self) -> None:
        """Check that confirmed results exist, and that started work has ended or will end."""
        self.holds(self.service)
        for operation in self.operations:
            ended = eventually(partial(self._ended, f"/operations/{operation}"), 60, "the operation")
            assert ended["state"] == "Succeeded" or ended["error"]["message"], ended
            assert self.service.request("GET", ended["resourceLocation"]).status_code == 200
        versions, link = [], "/models"
        while link:
            page = self.service.get(link)
            versions += [model["version"] for model in page["value"]]
            link = page.get("nextLink")
        assert versions == list(range(len(versions), 0, -1))

    def holds(self, service: ServiceProcess) -> None:
        """Check that a service has all that was confirmed, byte by byte."""
        for model in list(self.models.values()):
            assert service.get(f"/models/{model['id']}") == model
        for digest, content in list(self.contents.items()):
            assert service.request("GET", f"/artifacts/sha256/{digest}").content == content

    def _ended(self, url: str) -> Any:
        operation = self.service.get(url)
        return operation if operation["state"] not in {"NotStarted", "Running"} else None


class Callers:
    """What callers of a scoring URL were answered.

    Attributes:
        seconds: how long each right answer took.
        wrong: what the others were.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    @property
    def right(self) -> int:
        """Return the number of correct answers."""
        return len(self.seconds)

    def note(self, seconds: float, problem: str | None) -> None:
        with self._lock:
            if problem is None:
                self.seconds.append(seconds)
            else:
                self.wrong.append(problem)


class Scene:
    """A service with a steady scoring service of two replicas.

    Args:
        folder: for everything; its service keeps its state in `home` there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = ServiceProcess(folder / "home", "--hang-timeout", str(HANG_SECONDS))
        self._arguments = self.api.arguments
        self.image = self.api.image(self.driver("steady", DRIVER.format(says="steady")))
        self.steady = self.api.service(self.image["id"], "steady", numReplicas=2, maxConcurrentRequestsPerContainer=200)
        self.keys = self.api.get(f"/services/{self.steady['id']}/keys")
        self.client = Client(
            self.api,
            [self.driver(says, DRIVER.format(says=says)) for says in ("client-one", "client-two")],
            not_mine=self.image["id"],
        )

    def driver(self, name: str, source: str, **files: str) -> Path:
        """Return a folder of that name with a driver, created once."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for file, content in {"score.py": source, **files}.items():
            (folder / file).write_text(content)
        return folder

    def replicas(self) -> list[psutil.Process]:
        return replicas(self.api, self.steady)

    def ready_replicas(self) -> list[psutil.Process]:
        """Return both replicas, once they answer."""
        eventually(self.answers, what="an answer of the steady service")
        eventually(lambda: len(self.replicas()) == 2, what="both replicas")
        return self.replicas()

    def log(self) -> str:
        return self.api.log(f"/services/{self.steady['id']}/logs")

    def is_well(self) -> None:
        """Check the steady service: URL, keys, replicas, answers. Nothing else runs."""
        found = self.api.get(f"/services/{self.steady['id']}")
        assert found["scoringUri"] == self.steady["scoringUri"]
        assert found["state"] == "Succeeded"
        assert self.api.get(f"/services/{self.steady['id']}/keys") == self.keys
        self.ready_replicas()
        # Two replicas that died in quick succession may still be reported; nothing else is wrong.
        eventually(lambda: self._error() in {None, "CrashLoop"}, what="the end of the error")
        self.is_kept()
        found = {process.pid for process in processes_of(self.api.home)}  # first: a process may start at any time
        living = {process.pid for process in [psutil.Process(self.api.process.pid), *self.api.children()]}
        assert found <= living

    def is_kept(self) -> None:
        """Check that contents are intact, and that everything in the state folder is private to its user."""
        store = store_of(self.api.home)
        try:
            damages = check.find(store, Home(self.api.home)).damages
            assert damages == [], damages
        finally:
            store.close()
        # Files in images, environments and the runtime may be readable: the folders above them are not.
        scratch = self.api.home / "scratch"
        opened = {
            self.api.home / "images",
            self.api.home / "environments",
            scratch / "runtime",
            scratch / "next-runtime",
        }
        found = [self.api.home, *filter(Path.exists, opened), *_below(self.api.home, opened)]
        open_to_others = [path for path in found if _mode_of(path) & 0o077]
        assert open_to_others == [], open_to_others

    def _error(self) -> str | None:
        error = self.api.get(f"/services/{self.steady['id']}")["error"]
        return error and str(error["code"])

    def answers(self) -> bool:
        """Return whether the steady service answers."""
        try:
            return self.api.score(self.steady, "1", self.keys["secondaryKey"]).status_code == 200
        except requests.RequestException:
            return False

    @contextlib.contextmanager
    def scoring(self, *, through: str = "both") -> Iterator[Callers]:
        """Scores all the time: at the service's own port and at the front door, on connections that are kept and on
        new ones.

        Args:
            through: `port` for the service's own port only.
        """
        callers, done = Callers(), threading.Event()
        doors = [self.steady, self.steady if through == "port" else at_front_door(self.api, self.steady)]
        threads = [
            threading.Thread(target=self._call, args=(door, session, callers, done))
            for door in doors
            for session in (None, requests.Session())
        ]
        for thread in threads:
            thread.start()
        try:
            yield callers
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _call(self, service: Any, session: requests.Session | None, callers: Callers, done: threading.Event) -> None:
        while not done.wait(PAUSE_SECONDS):
            began = time.perf_counter()
            try:
                answer = self.api.score(service, "1", self.keys["secondaryKey"], session=session)
                problem = None if answer.status_code == 200 else f"{answer.status_code}: {answer.text}"
            except requests.RequestException as error:
                problem = repr(error)
            callers.note(time.perf_counter() - began, problem)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Run the client during this context."""
        stop = threading.Event()
        worker = threading.Thread(target=self.client.work, args=(stop,))
        worker.start()
        try:
            yield
        finally:
            stop.set()
            worker.join()

    def crash(self) -> None:
        """Kill the service (`kill -9`); its replicas end with it, so that the next service finds its ports free."""
        self.api.kill()
        eventually(lambda: not processes_of(self.api.home), what="the end of the replicas")

    def restart(self, environment: dict[str, str], *arguments: str) -> None:
        """Restart the service with other variables in its environment, and with further arguments."""
        self.api.stop()
        self.api.environment, self.api.arguments = environment, (*self._arguments, *arguments)
        self.api.start()

    def close(self) -> None:
        """Stop the service, and check that it leaves no process and no incomplete file."""
        self.api.stop()
        left: list[object] = [*processes_of(self.api.home), *traces_of(self.api.home)]
        # An upload in parts goes on after a restart.
        left += [path for path in self.api.home.rglob("*.partial") if "artifacts" not in path.parts]
        assert left == [], left
        self.is_kept()


def _below(folder: Path, left_out: set[Path]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path not in left_out:
            yield path
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    yield from _below(path, left_out)


def _mode_of(path: Path) -> int:
    try:
        return 0 if path.is_symlink() else stat.S_IMODE(path.lstat().st_mode)
    except FileNotFoundError:  # a file that is being replaced
        return 0


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def random_moment(moments: random.Random, most: float) -> None:
    """Wait for a random time: the moment itself is under test."""
    time.sleep(moments.uniform(0.05, most))


def processes_of(home: Path) -> list[psutil.Process]:
    """Return all processes related to a state folder."""
    return [one for one in psutil.process_iter() if any(str(home) in part for part in command_of(one))]


def traces_of(home: Path) -> list[psutil.Process]:
    """Return the processes that a service on a state folder has started, directly or not: they inherit its variables,
    or work in the folder.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if any(str(home) in text for text in (*process.environ().values(), process.cwd())):
                found.append(process)
    return found


def command_of(process: psutil.Process) -> list[str]:
    """Return its command line; empty once it has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


Fault = Callable[[Scene, random.Random], None]
