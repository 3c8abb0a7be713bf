"""The files of an image that describe it: programs, Python's library, users, and all links that lead to them."""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Iterator

import msgspec

from mlmgmt_nb.archives.extraction import ArchiveError, Member

__all__ = ["ImageFiles", "number"]

_VERSION = r"3\.[0-9]{1,3}"
_OF_INTEREST = re.compile(
    rf"(.*/)?(python3|python{_VERSION}|java)|(.*/)?lib/python{_VERSION}/os\.py|etc/(passwd|group)|(usr/)?lib/ld-musl-.*"
)
_TEXTS = frozenset({"etc/passwd", "etc/group"})
_TEXT_BYTES = 2**20
_MOST_ENTRIES = 500_000
"""Limit for files of interest and links."""
_MOST_LINKS = 40


class _Entry(msgspec.Struct, frozen=True):
    """A file or a link."""

    link: str | None = None
    text: str = ""


class ImageFiles:
    """The files of interest of an image, after all layers are applied."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._folders: set[str] = set()

    def apply(self, layer: Iterator[Member]) -> None:
        """Add a layer. Its whiteouts hide files of the layers below, not its own.

        Raises:
            ArchiveError: the layer is damaged, or has too many links.
        """
        self._folders = {folder for path in self._entries for folder in _above(path)}
        added: dict[str, _Entry] = {}
        for member in layer:
            path = posixpath.normpath(f"/{member.name}").lstrip("/")
            head, _, last = path.rpartition("/")
            if last == ".wh..wh..opq":
                self._empty(head)
            elif last.startswith(".wh."):
                self._replace(posixpath.join(head, last.removeprefix(".wh.")))
            elif (entry := self._entry(path, member, added)) is not None:
                added[path] = entry
            else:
                added.pop(path, None)
                self._replace(path, with_folder=member.kind == "folder")
            if len(added) + len(self._entries) > _MOST_ENTRIES:
                raise ArchiveError(f"has more than {_MOST_ENTRIES:,} links and programs")
        for path in added:
            self._replace(path)
        self._entries |= added

    def _entry(self, path: str, member: Member, added: dict[str, _Entry]) -> _Entry | None:
        """Return the entry for a member; None if it does not matter."""
        if member.kind == "symlink":
            return _Entry(member.link)
        if member.kind not in {"file", "hardlink"} or _OF_INTEREST.fullmatch(path) is None:
            return None
        if member.kind == "hardlink":  # another name of the file, which remains if the first is removed
            target = posixpath.normpath(f"/{member.link}").lstrip("/")
            return added.get(target) or self._entries.get(target) or _Entry()
        if path not in _TEXTS:
            return _Entry()
        with member.open() as file:
            content = file.read(_TEXT_BYTES + 1)
        return _Entry(text=content.decode(errors="replace") if len(content) <= _TEXT_BYTES else "")

    def _replace(self, path: str, *, with_folder: bool = False) -> None:
        """Remove the entry that the layers below have at a path, with its content unless the new entry is a folder."""
        self._entries.pop(path, None)
        if not with_folder:
            self._empty(path)

    def _empty(self, folder: str) -> None:
        """Remove the content that the layers below have in a folder."""
        if folder in self._folders:
            self._folders.discard(folder)
            prefix = f"{folder}/" if folder else ""
            self._entries = {name: entry for name, entry in self._entries.items() if not name.startswith(prefix)}

    @property
    def has_musl(self) -> bool:
        return any(re.fullmatch(r"(usr/)?lib/ld-musl-.*", path) for path in self._entries)

    def text(self, path: str) -> str:
        """Return the content of a text file; empty if it does not exist."""
        return self._entries.get(path, _Entry()).text

    def program(self, name: str, folders: list[str]) -> str | None:
        """Return the path of a program, with links resolved, as `PATH` finds it."""
        return next(filter(None, (self._resolved(posixpath.join(folder, name)) for folder in folders)), None)

    def library_of(self, interpreter: str) -> tuple[str, str]:
        """Return the folder of the libraries of a Python, and its version; the version is empty without a library."""
        library = posixpath.join(posixpath.dirname(posixpath.dirname(interpreter)), "lib/").lstrip("/")
        found = re.compile(re.escape(library) + rf"python({_VERSION})/os\.py")
        versions = {match[1] for path in self._entries if (match := found.fullmatch(path))}
        named = posixpath.basename(interpreter).removeprefix("python")
        return library, named if named in versions else max(versions, key=number, default="")

    def _resolved(self, path: str) -> str | None:
        """Follow the links in a path, as the system does; return the path of a file, or None."""
        done: list[str] = []
        rest, links = deque(path.split("/")), 0
        while rest:
            part = rest.popleft()
            if part == "..":
                del done[-1:]
            elif part not in {"", "."}:
                entry = self._entries.get("/".join((*done, part)))
                if entry is None or entry.link is None:
                    done.append(part)
                    continue
                links += 1
                if links > _MOST_LINKS:
                    return None
                if entry.link.startswith("/"):
                    done.clear()
                rest.extendleft(reversed(entry.link.split("/")))
        found = "/".join(done)
        return f"/{found}" if found in self._entries else None


def _above(path: str) -> Iterator[str]:
    """Yield the parent folders of a path; the root is the empty path."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def number(version: str) -> tuple[int, ...]:
    """Return a version as numbers, for comparison."""
    return tuple(map(int, version.split(".")))
