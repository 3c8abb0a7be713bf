"""Check names and link targets in archives: where each leads below a folder."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from mlmgmt_nb.archives.members import ArchiveError

__all__ = ["components", "is_target", "leads_inside", "links_in", "shown"]

_PATH_BYTES = 1024
"""Maximum length of a path in an archive, and of a link target."""
_NAME_BYTES, _DEPTH, _HOPS = 255, 64, 40


def components(name: str) -> tuple[str, ...]:
    """Return the path below the folder that a name leads to. A leading slash is dropped, as in `tar` and `unzip`."""
    found: list[str] = []
    for part in name.split("/"):
        if part == ".." and not found:
            raise ArchiveError(f"has {shown(name)}, which would be written outside its folder")
        if part == "..":
            found.pop()
        elif part not in {"", "."}:
            found.append(part)
    if "\0" in name:
        raise ArchiveError(f"has {shown(name)}, which is not a file name")
    if _longest(found) > _NAME_BYTES or len(os.fsencode(name)) > _PATH_BYTES or len(found) > _DEPTH:
        raise ArchiveError(
            f"has {shown(name)}, whose name is too long: at most {_NAME_BYTES} bytes in a name, {_PATH_BYTES} in a "
            f"path, and {_DEPTH} levels of folders"
        )
    return tuple(found)


def is_target(text: str) -> bool:
    """Return whether a text can be the target of a link. The system refuses to follow one with a name that is too long,
    even if nothing has this name."""
    if not text or "\0" in text:
        return False
    return len(os.fsencode(text)) <= _PATH_BYTES and _longest(text.split("/")) <= _NAME_BYTES


def _longest(names: Iterable[str]) -> int:
    """Return the length of the longest name in bytes."""
    return max((len(os.fsencode(name)) for name in names), default=0)


def links_in(folder: Path) -> list[tuple[str, ...]]:
    """Return the symbolic links below a folder."""
    return [
        Path(above, name).relative_to(folder).parts
        for above, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if Path(above, name).is_symlink()
    ]


def leads_inside(folder: Path, link: tuple[str, ...]) -> bool:
    """Follow a link on the disk, component by component. Return False as soon as it leaves the folder."""
    at: list[str] = []
    rest, hops = deque(link), 0
    while rest:
        part = rest.popleft()
        if part == ".." and not at:
            return False
        if part == "..":
            at.pop()
        elif part not in {"", "."}:
            here = folder.joinpath(*at, part)
            try:
                target = os.readlink(here)
            except OSError as error:
                if error.errno not in {errno.EINVAL, errno.ENOENT, errno.ENOTDIR}:
                    return False
                at.append(part)  # not a link, or does not exist yet
                continue
            hops += 1
            if hops > _HOPS or target.startswith("/"):
                return False
            rest.extendleft(reversed(target.split("/")))
    return True


def shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:60]}...{name[-30:]}")
