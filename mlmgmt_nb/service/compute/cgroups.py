"""Resource reservations enforced by the kernel: a control group for each replica, where this process can create groups.

Linux only. Reserved CPUs are a share that applies when cores are scarce; replicas without a reservation get the rest.
Reserved memory is also the limit: a replica that exceeds it is ended, and the others continue. All groups are below the
group of this process, so its own limits still apply, and together the replicas have a share of all cores beside the
other processes in that group.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

__all__ = ["LEFT_OVER", "ControlGroups", "Group", "find_groups"]

_PREFIX = "mlmgmt-"
LEFT_OVER = 0.1
"""Share, in CPUs, of a replica without a reservation beside those that have one."""
_REMOVE_SECONDS = 2.0


class Group(msgspec.Struct, frozen=True):
    """The control groups of one replica: a folder, or with cgroup v1 one folder for each controller.

    Attributes:
        memory: the folder of the memory controller; None if not available.
    """

    folders: Sequence[Path]
    memory: Path | None

    def out_of_memory(self) -> bool:
        """Return whether one of its processes was ended because it exceeded its memory limit."""
        for name in ("memory.events", "memory.oom_control"):
            if self.memory is not None and (self.memory / name).exists():
                counted = dict(line.split() for line in (self.memory / name).read_text().splitlines())
                return int(counted.get("oom_kill", 0)) > 0
        return False

    def kill(self) -> None:
        """End all of its processes, regardless of their process group or session."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        """Remove it. A process that was just killed may need a moment to leave it."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        for folder in self.folders:
            while not _removed(folder) and time.monotonic() < deadline:
                time.sleep(0.02)


class ControlGroups:
    """The place for new groups.

    Args:
        cpu: parent group for CPU shares; None if not available.
        memory: parent group for memory limits; the same folder with cgroup v2.
        unified: whether this is cgroup v2.
    """

    def __init__(self, cpu: Path | None, memory: Path | None, *, unified: bool) -> None:
        self._cpu = cpu
        self._memory = memory
        self._unified = unified

    @property
    def shares_cpus(self) -> bool:
        """Return whether reserved CPUs are enforced."""
        return self._cpu is not None

    @property
    def limits_memory(self) -> bool:
        """Return whether reserved memory is enforced."""
        return self._memory is not None

    def prepared(self) -> bool:
        """Return whether groups of replicas can be created now; with cgroup v2, enable their controllers."""
        try:
            if self._unified and self._cpu is not None:
                (self._cpu / "cgroup.subtree_control").write_text("+cpu +memory")
            if self._cpu is not None:
                _share_cpu(self._cpu, float(os.cpu_count() or 1), unified=self._unified)
        except OSError:
            return False
        return True

    def add(self, replica_id: str, pid: int, cpus: float | None, memory_bytes: int | None) -> Group:
        """Move a process into a new group. Unavailable controllers are skipped.

        Args:
            replica_id: name of the group.
            cpus, memory_bytes: reserved resources, if any.
        """
        folders: list[Path] = []
        memory = None
        for controller in ("cpu", "memory") if memory_bytes is not None else ("cpu",):
            base = self._cpu if controller == "cpu" else self._memory
            if base is None:
                continue
            folder = base / replica_id
            try:
                folder.mkdir(exist_ok=True)
                folders += [folder] if folder not in folders else []
                self._reserve(controller, folder, cpus, memory_bytes)
                (folder / "cgroup.procs").write_text(str(pid))
            except OSError:
                continue
            memory = folder if controller == "memory" else memory
        return Group(folders, memory)

    def _reserve(self, controller: str, folder: Path, cpus: float | None, memory_bytes: int | None) -> None:
        if controller == "cpu":
            _share_cpu(folder, cpus if cpus is not None else LEFT_OVER, unified=self._unified)
        elif memory_bytes is not None:
            self._limit_memory(folder, memory_bytes)

    def _limit_memory(self, folder: Path, memory_bytes: int) -> None:
        limit, swap, most = (
            ("memory.max", "memory.swap.max", 0)
            if self._unified
            else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", memory_bytes)
        )
        (folder / limit).write_text(str(memory_bytes))
        with contextlib.suppress(OSError):  # the file does not exist if swap is not counted
            (folder / swap).write_text(str(most))

    def close(self) -> None:
        """Remove the parent of all groups, which must be empty."""
        for folder in {self._cpu, self._memory}:
            if folder is not None:
                _removed(folder)


def find_groups(proc: Path = Path("/proc/self")) -> ControlGroups:
    """Find where this process can create groups; remove groups left over from a crash.

    Args:
        proc: folder that describes this process.
    """
    try:
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
        own = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    except OSError:  # not Linux
        return ControlGroups(None, None, unified=False)
    found = _separate_parents(mounts, own)
    unified = None if any(found.values()) else _unified_folder(mounts, own)
    if unified is not None and _delegated(unified):
        parent = _parent(unified)
        groups = ControlGroups(parent, parent, unified=True)
    else:
        groups = ControlGroups(found["cpu"], found["memory"], unified=False)
    return groups if groups.prepared() else ControlGroups(None, None, unified=False)


def _separate_parents(mounts: Sequence[list[str]], own: Sequence[list[str]]) -> dict[str, Path | None]:
    """Return the parent of groups for each controller of cgroup v1; None if it has none.

    Args:
        mounts: the fields of all mounts.
        own: number, controllers and path of the groups of this process.
    """
    found: dict[str, Path | None] = {"cpu": None, "memory": None}
    for mount in mounts:
        if _kind_of(mount) == "cgroup":
            for controller in set(found) & set(mount[-1].split(",")):
                path = next((path for _, names, path in own if controller in names.split(",")), "/")
                found[controller] = _parent(_below(Path(mount[4]), mount[3], path))
    return found


def _unified_folder(mounts: Sequence[list[str]], own: Sequence[list[str]]) -> Path | None:
    """Return the folder of this process's group in cgroup v2, or None."""
    path = next((path for number, _, path in own if number == "0"), "/")
    folders = [_below(Path(mount[4]), mount[3], path) for mount in mounts if _kind_of(mount) == "cgroup2"]
    return folders[-1] if folders else None


def _kind_of(mount: Sequence[str]) -> str:
    return mount[mount.index("-") + 1]


def _below(mount: Path, root: str, path: str) -> Path:
    """Return the folder of a group, if the mount only shows the groups below `root`."""
    inside = path.removeprefix(root) if root != "/" else path
    return mount / inside.strip("/")


def _parent(folder: Path) -> Path | None:
    """Return a group for the replicas of this process, if it can be created; remove leftovers of crashes in it."""
    if not folder.is_dir():
        return None
    for left in folder.glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        if not (owner.isdigit() and Path(f"/proc/{owner}").exists()):
            for group in [*left.glob("*/"), left]:
                _removed(group)
    parent = folder / f"{_PREFIX}{os.getpid()}"
    try:
        parent.mkdir(exist_ok=True)
    except OSError:
        return None
    return parent


def _share_cpu(folder: Path, cpus: float, *, unified: bool) -> None:
    shares = min(max(2, round(cpus * 1024)), 262144)
    if unified:
        (folder / "cpu.weight").write_text(str(1 + (shares - 2) * 9999 // 262142))
    else:
        (folder / "cpu.shares").write_text(str(shares))


def _delegated(folder: Path) -> bool:
    """Return whether groups in a folder of cgroup v2 get controllers.

    A group with controllers must not contain processes itself, so this process moves into a new group; if other
    processes stay in it, the kernel refuses.
    """
    control = folder / "cgroup.subtree_control"
    try:
        if {"cpu", "memory"} <= set(control.read_text().split()):
            return True
        try:
            control.write_text("+cpu +memory")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            (folder / f"{_PREFIX}{os.getpid()}-service").mkdir(exist_ok=True)
            (folder / f"{_PREFIX}{os.getpid()}-service" / "cgroup.procs").write_text(str(os.getpid()))
            control.write_text("+cpu +memory")
    except OSError:
        return False
    return True


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
