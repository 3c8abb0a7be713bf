"""The Python of a base image, for which packages are resolved."""

from __future__ import annotations

import platform as os_platform
import sys

import msgspec

from mlmgmt_nb.contract.resolving import resolve

__all__ = ["ARCHITECTURES", "Python"]

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The name of an architecture in images, by its name in Python."""


class Python(msgspec.Struct, frozen=True):
    """The Python version of a base image."""

    version: str
    machine: str
    libc: str

    @property
    def is_this_platform(self) -> bool:
        """Return whether this process has the same version on the same platform, and so builds the same packages."""
        here = (f"{sys.version_info.major}.{sys.version_info.minor}", os_platform.machine(), os_platform.libc_ver()[0])
        return (self.version, self.platform) == (here[0], Python(*here).platform)

    @property
    def platform(self) -> str:
        """Return its platform as `uv` names it."""
        machine = {image: machine for machine, image in ARCHITECTURES.items()}.get(self.machine, self.machine)
        return f"{machine}-unknown-linux-{'gnu' if self.libc == 'glibc' else 'musl'}"


resolve(Python)
