"""Kernels of several versions for the same packages: each has an ipykernel of its own in front of what is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import uv

from tests.support.components import missing
from tests.support.searches import IN_CI

__all__ = ["VERSIONS", "install_kernels"]

VERSIONS = ("6.31", "7.4") if IN_CI else ("7.4",)
"""Those whose threads, interrupts and messages differ most; the newest unless `CI=true`."""


def install_kernels(folder: Path) -> None:
    """Make the kernel specs `ipykernel-VERSION` in a folder that is on `JUPYTER_PATH`."""
    for version in VERSIONS:
        packages = folder / f"ipykernel-{version}"
        wanted = [f"ipykernel=={version}.*", "nest-asyncio", "comm"]
        command = [
            uv.find_uv_bin(),
            "pip",
            "install",
            "--quiet",
            "--python",
            sys.executable,
            "--no-deps",
            "--target",
            str(packages),
        ]
        if subprocess.run([*command, *wanted], capture_output=True, check=False).returncode:
            missing(f"ipykernel {version}", "the package index cannot be reached")
        spec = folder / "kernels" / f"ipykernel-{version}"
        spec.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        described = {
            "argv": argv,
            "display_name": f"ipykernel {version}",
            "language": "python",
            "interrupt_mode": "signal",
            "env": {"PYTHONPATH": str(packages), "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        }
        (spec / "kernel.json").write_text(json.dumps(described))
