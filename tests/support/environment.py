"""Programs of this Python's environment (`uv`, `jupyter`, `mlmgmt`) are found without activating it."""

from __future__ import annotations

import os
import sysconfig

__all__ = ["use_own_programs"]


def use_own_programs() -> None:
    """Put the folder of this Python's programs first on `PATH`, for this process and those that it starts."""
    own = sysconfig.get_path("scripts")
    if os.environ.get("PATH", "").split(os.pathsep)[0] != own:
        os.environ["PATH"] = os.pathsep.join(filter(None, (own, os.environ.get("PATH"))))
