"""Control groups: on simulated trees, and on the kernel's own where this process has permission."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlmgmt_nb.service.compute.cgroups import ControlGroups, find_groups


def described(folder: Path, mounts: str, own: str) -> Path:
    """Return a folder that describes a process, in the format of /proc/self."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text(mounts)
    (proc / "cgroup").write_text(own)
    return proc


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    own = "4:memory:/docker/abc/inner\n1:cpu,cpuacct:/\n0::/\n"
    mounts = (
        f"32 31 0:29 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        f"35 31 0:32 /docker/abc {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
        f"41 31 0:38 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
    )
    cpu, memory = tmp_path / "cpu", tmp_path / "memory" / "inner"
    for folder in (cpu, memory, cpu / "mlmgmt-999999999" / "1"):
        folder.mkdir(parents=True)
    groups = find_groups(described(tmp_path, mounts, own))
    assert not (cpu / "mlmgmt-999999999").exists()  # left over from a crash
    group = groups.add("7", 42, cpus=0.5, memory_bytes=2**26)
    parent, name = f"mlmgmt-{os.getpid()}", f"mlmgmt-{os.getpid()}/7"
    assert group.folders == [cpu / name, memory / name]
    assert (cpu / parent / "cpu.shares").read_text() == str(1024 * (os.cpu_count() or 1))
    assert (cpu / name / "cpu.shares").read_text() == "512"
    assert (cpu / name / "cgroup.procs").read_text() == (memory / name / "cgroup.procs").read_text() == "42"
    assert (memory / name / "memory.limit_in_bytes").read_text() == str(2**26)
    assert (memory / name / "memory.memsw.limit_in_bytes").read_text() == str(2**26)
    (memory / name / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    assert not group.out_of_memory()
    (memory / name / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert group.out_of_memory()
    unreserved = groups.add("8", 43, cpus=None, memory_bytes=None)
    assert [folder.parent for folder in unreserved.folders] == [cpu / parent]
    assert int((unreserved.folders[0] / "cpu.shares").read_text()) < 512


def test_version_2_has_one_folder(tmp_path: Path) -> None:
    mounts = f"41 31 0:38 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
    base = tmp_path / "unified" / "service"
    base.mkdir(parents=True)
    (base / "cgroup.subtree_control").write_text("")
    groups = find_groups(described(tmp_path, mounts, "0::/service\n"))
    assert (base / "cgroup.subtree_control").read_text() == "+cpu +memory"
    group = groups.add("1", 42, cpus=1, memory_bytes=100)
    (folder,) = group.folders
    assert folder.parent == base / f"mlmgmt-{os.getpid()}"
    assert (folder / "cpu.weight").read_text() == "39"
    assert ((folder / "memory.max").read_text(), (folder / "memory.swap.max").read_text()) == ("100", "0")
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.out_of_memory()


@pytest.mark.parametrize(
    "mounts", ["", "1 2 0:1 / /nowhere rw - cgroup cgroup rw,cpu\n", "1 2 0:1 / / rw - ext4 x rw\n"]
)
def test_no_control_groups(tmp_path: Path, mounts: str) -> None:
    groups = find_groups(described(tmp_path, mounts, "0::/\n"))
    group = groups.add("1", os.getpid(), cpus=1, memory_bytes=100)
    assert (group.folders, group.memory, group.out_of_memory()) == ([], None, False)
    group.remove()
    assert find_groups(tmp_path / "no-proc").add("1", 1, None, None).folders == []


def test_what_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    groups = ControlGroups(tmp_path / "file", tmp_path / "file", unified=False)
    assert groups.add("1", os.getpid(), cpus=1, memory_bytes=100).folders == []


def test_the_kernel_ends_what_takes_too_much() -> None:
    groups = find_groups()
    greedy = "input(); held = b'x' * 2**28; print('alive')"
    with subprocess.Popen([sys.executable, "-c", greedy], stdin=subprocess.PIPE) as process:
        group = groups.add("test", process.pid, cpus=None, memory_bytes=2**26)
        if group.memory is None:
            process.kill()
            process.wait()
            group.remove()
            groups.close()
            pytest.skip("no control group can be made here")
        process.communicate(b"\n")
    assert process.returncode == -9
    assert group.out_of_memory()
    group.remove()
    groups.close()
    assert not any(folder.exists() or folder.parent.exists() for folder in group.folders)
