"""Install the packages of a driver inside an image that is being built. Reproducible; not part of the service.

The script is at `/mlmgmt/build/` beside `requirements.txt` and, for conda packages, `environment.yml`. Its standard
output is the build log.

--secrets       the standard input is a JSON object with `pip.conf` and `netrc`, which may contain passwords of
                package indexes: they are only kept in memory, so that no layer contains them
--locked        the requirements are exact and complete
--java          installs a Java runtime if there is none
--compile       only creates byte code of the scoring runtime
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = os.path.join(HERE, "environment.yml")
CONDA = "/opt/conda"
USER = "mlmgmt:x:1000:1000:mlmgmt:/home/mlmgmt:/usr/sbin/nologin\n"
RUNTIME = "/mlmgmt/runtime"
EPOCH = 315532800
"""1980-01-01, the earliest time that every archive format can store: installed files get this time."""


def main() -> None:
    began = time.time()
    time.sleep(0.05)  # the file system's clock is coarser
    os.environ.update(
        PYTHONDONTWRITEBYTECODE="1", PIP_BREAK_SYSTEM_PACKAGES="1", DEBIAN_FRONTEND="noninteractive", PYTHONHASHSEED="0"
    )
    if "--compile" in sys.argv:
        finalize(began, sys.executable, RUNTIME)
    else:
        finalize(began, install())


def install() -> str:
    """Install everything; return the Python that will run the driver."""
    step("user", add_user)
    if "--java" in sys.argv and shutil.which("java") is None:
        step("java", add_java)
    python = sys.executable
    if os.path.exists(ENVIRONMENT):
        step("conda packages", add_conda)
        python = CONDA + "/bin/python"
    step("pip packages", lambda: add_requirements(python))
    return python


def step(name: str, act: Callable[[], None]) -> None:
    """Run a step. A failure ends the build; the second to last line then names the step."""
    print("--> " + name, flush=True)
    try:
        act()
    except (OSError, subprocess.CalledProcessError) as error:
        code = getattr(error, "returncode", None)
        print("step failed: " + name + ("" if code else ": " + str(error)), flush=True)
        sys.exit(1)


def run(
    *command: str,
    environment: dict[str, str] | None = None,
    folder: str | None = None,
) -> None:
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )


def add_user() -> None:
    """Add the user that drivers run as, unless the image has a user with this id."""
    with open("/etc/passwd", "a+") as file:
        file.seek(0)
        if not any(line.split(":")[2:3] == ["1000"] for line in file):
            file.write(USER)
    with open("/etc/group", "a+") as file:
        file.seek(0)
        if not any(line.split(":")[2:3] == ["1000"] for line in file):
            file.write("mlmgmt:x:1000:\n")
    for folder, owner in (("/home/mlmgmt", 1000), ("/app", 1000), ("/mlmgmt", 0)):
        os.makedirs(folder, exist_ok=True)
        os.chown(folder, owner, owner)


def add_conda() -> None:
    packages = "/var/tmp/mamba"
    create = ("micromamba", "create", "--yes", "--prefix", CONDA, "--file", ENVIRONMENT)
    run(*create, environment={"MAMBA_ROOT_PREFIX": packages})
    shutil.rmtree(packages, ignore_errors=True)


def add_java() -> None:
    if shutil.which("apt-get") is None:
        raise OSError("the base image has neither java nor apt-get; use one that has java")
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-qq", "-y", "--no-install-recommends", "default-jre-headless")
    shutil.rmtree("/var/lib/apt/lists", ignore_errors=True)


def add_requirements(python: str) -> None:
    environment = secrets()
    if subprocess.run([python, "-m", "pip", "--version"], check=False, capture_output=True).returncode:
        run(python, "-m", "ensurepip")
    flags = ("--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--root-user-action=ignore")
    locked = ("--no-deps",) if "--locked" in sys.argv else ()
    install = (python, "-m", "pip", "install", *flags, *locked, "--progress-bar=off")
    for path in groups():
        run(*install, "-r", path, environment=environment, folder=HERE)


def groups() -> Iterator[str]:
    """Yield requirements files: those with hashes first, since pip requires a hash for all requirements or none."""
    with open(HERE + "/requirements.txt") as file:
        lines = file.readlines()
    options = [line for line in lines if line.startswith("-")]
    for hashed in (True, False):
        group = [line for line in lines if line not in options and ("--hash=" in line) is hashed]
        path = f"{HERE}/group.txt"
        if group:
            with open(path, "w") as file:
                file.writelines(options + group)
            yield path
            os.unlink(path)


def secrets() -> dict[str, str]:
    """Return the environment variables that point pip to its secrets.

    They name descriptors of this process, so that the processes in which pip builds packages can open them too.
    """
    if "--secrets" not in sys.argv:
        return {}
    environment: dict[str, str] = {}
    for name, content in json.load(sys.stdin).items():
        descriptor = os.memfd_create(name)
        os.write(descriptor, content.encode())
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
        environment[{"pip.conf": "PIP_CONFIG_FILE", "netrc": "NETRC"}[name]] = path
    return environment


def finalize(began: float, python: str, also: str | None = None) -> None:
    """Compile new modules, and give every file of this step the same time: the same input produces the same layer.

    Args:
        python: compiles the modules.
        also: a folder whose modules are compiled even if they are not new.
    """
    paths = [*changed(began), *(walk(also) if also else [])]
    modules = "\n".join(path for path in paths if path.endswith(".py"))
    compiler = [python, "-B", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", "-i", "-"]
    # Some packages include modules for other versions of Python, which do not compile.
    subprocess.run(compiler, input=modules, text=True, check=False)
    for path in list(changed(began)):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def changed(since: float) -> Iterator[str]:
    return (path for path in walk("/") if os.lstat(path).st_ctime >= since)


def walk(top: str) -> Iterator[str]:
    """Yield every file and folder of the image itself, folders after their content."""
    device = os.lstat(top).st_dev
    for folder, folders, files in os.walk(top, topdown=True):
        folders[:] = [name for name in folders if os.lstat(os.path.join(folder, name)).st_dev == device]
        for name in [*files, *folders]:
            path = os.path.join(folder, name)
            if os.lstat(path).st_dev == device:
                yield path


if __name__ == "__main__":
    main()
