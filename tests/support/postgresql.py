"""A private PostgreSQL server for the tests: started on first use, stopped when the session ends."""

from __future__ import annotations

import atexit
import contextlib
import functools
import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.support.components import missing

__all__ = ["PostgreSQL", "remove_server", "server"]

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
}


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    on_path = shutil.which("pg_ctl")
    return Path(on_path).parent if on_path else missing("PostgreSQL", "apt-get install postgresql")


class PostgreSQL:
    """A server on a free port, with all files in one folder.

    PostgreSQL refuses to run as root: if the tests run as root, the server runs as the user `postgres`.
    """

    def __init__(self) -> None:
        self._programs = _programs()
        self._user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self.folder = Path(tempfile.mkdtemp(prefix="mlmgmt-postgresql-"))
        if os.geteuid() == 0:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._data = self.folder / "data"
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        initdb = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={self._user}"]
        self._run("initdb", *initdb, "-D", str(self._data))
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user if os.geteuid() == 0 else None,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            # Not a pipe, which the server would keep open.
            stdout=(self.folder / "output").open("ab"),
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (program, (self.folder / "output").read_text())

    def run(self, program: str, *arguments: str) -> None:
        """Run a client program of PostgreSQL."""
        self._run(program, "-h", "127.0.0.1", "-p", str(self.port), *arguments)

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
        options += f" -c port={self.port} -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-w", "-D", str(self._data), "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-D", str(self._data), "-m", mode, "stop")

    def remove(self) -> None:
        if self.folder.exists():
            with contextlib.suppress(AssertionError):
                self.stop("immediate")
            shutil.rmtree(self.folder)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{self._user}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str) -> str:
        """Return the URL of a database; create it if necessary."""
        import psycopg

        with psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True) as db:
            if db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                db.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.url(name)

    def database_of(self, home: Path) -> str:
        """Return the URL of the database for a state folder, always the same for a folder.

        Its name is kept beside the folder, not made from the path: a folder of a test that has passed is
        removed, and pytest may give its path to another test.
        """
        name = home.with_name(home.name + ".database")
        if not name.exists():
            name.write_text(f"home_{uuid.uuid4().hex}")
        return self.database(name.read_text())


@functools.cache
def server() -> PostgreSQL:
    """Return the server of this session."""
    started = PostgreSQL()
    atexit.register(started.remove)
    return started


def remove_server() -> None:
    """Remove the server of this session, if it was started.

    At the end of a session, xdist kills a worker that has not ended after ten seconds, and `atexit` with it.
    """
    if server.cache_info().currsize:
        server().remove()
