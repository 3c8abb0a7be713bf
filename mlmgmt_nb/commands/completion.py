"""Completion of commands: words, flags, their values, files, and names from the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.http.passive import passive
from mlmgmt_nb.commands.config import SETTINGS
from mlmgmt_nb.commands.grammar import Command, Flag, flags_by_name
from mlmgmt_nb.commands.session import OPTIONAL_WORDS, Session
from mlmgmt_nb.errors import MlmgmtError

__all__ = ["Completer", "Completion"]

_FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 0.25
_MOST_NAMES = 200


class Completion(NamedTuple):
    """The last token of the text, and its completions."""

    fragment: str
    candidates: list[str]


def _unique(names: Iterator[str | None]) -> list[str]:
    return list(dict.fromkeys(name for name in names if name))


def _names_of(items: Iterable[Any]) -> list[str]:
    return _unique(item.name for item in islice(items, _MOST_NAMES))


def _archived(items: Iterable[Any]) -> list[str]:
    """Return the names of archived versions, followed by their ids."""
    found = [item for item in islice(items, _MOST_NAMES) if item.archived]
    return _unique(iter([*(item.name for item in found), *(item.id for item in found)]))


_NAMES: Mapping[str, Callable[[Workspace], list[str]]] = {
    "model": lambda ws: _names_of(ws.models.list(count=_MOST_NAMES)),
    "model-id": lambda ws: _unique(model.id for model in islice(ws.models.list(count=_MOST_NAMES), _MOST_NAMES)),
    "manifest": lambda ws: _names_of(ws.manifests.list(count=_MOST_NAMES)),
    "manifest-id": lambda ws: _unique(item.id for item in islice(ws.manifests.list(count=_MOST_NAMES), _MOST_NAMES)),
    "image-name": lambda ws: _names_of(ws.images.list(count=_MOST_NAMES)),
    "archived-model": lambda ws: _archived(ws.models.list(include_archived=True, count=_MOST_NAMES)),
    "archived-manifest": lambda ws: _archived(ws.manifests.list(include_archived=True, count=_MOST_NAMES)),
    "archived-image": lambda ws: _archived(ws.images.list(include_archived=True, count=_MOST_NAMES)),
    "image": lambda ws: _unique(image.id for image in islice(ws.images.list(count=_MOST_NAMES), _MOST_NAMES)),
    "service": lambda ws: _names_of(ws.services.list(count=_MOST_NAMES)),
    "deployment": lambda ws: _unique(item.id for item in islice(ws.deployments.list(), _MOST_NAMES)),
}


class Completer:
    """Complete commands of a session without long waits. A thread queries the server; results are briefly cached.

    Args:
        session: the session.
        patience: maximum seconds to wait for the server.
    """

    def __init__(self, session: Session, patience: float = _PATIENCE_SECONDS) -> None:
        self._session = session
        self._patience = patience
        self._kept: dict[str, tuple[float, list[str]]] = {}
        self._fetching: dict[str, threading.Thread] = {}
        self._operations: list[str] = []

    def complete(self, text: str) -> Completion:
        """Return the completions.

        Args:
            text: the text after `mlmgmt`, up to the cursor.
        """
        *before, fragment = text.split(" ")
        words = [word for word in before if word]
        candidates = [candidate for candidate in self._candidates(words, fragment) if candidate.startswith(fragment)]
        return Completion(fragment, candidates)

    def remember(self, operation_id: str) -> None:
        """Suggest an operation first from now on. Servers with the API of 2017 do not list operations."""
        self._operations = [operation_id, *(known for known in self._operations if known != operation_id)]

    def _candidates(self, words: list[str], fragment: str) -> list[str]:
        command = self._command(words)
        if command is None:
            return self._next_words(_required(words))
        flags = [*command.flags, *self._session.common(command)]
        flag = flags_by_name(flags).get(words[-1])
        if flag is not None and flag.kind != "switch":
            return self._values(flag, fragment)
        if fragment.startswith("-"):
            return self._unused_names(flags, words)
        positional = next((flag for flag in command.flags if flag.is_positional), None)
        return self._values(positional, fragment) if positional and not words[-1].startswith("-") else []

    def _unused_names(self, flags: list[Flag], words: list[str]) -> list[str]:
        """Return the long names of the flags that the words do not contain. Repeatable flags remain."""
        used = {name for word in words if word.startswith("-") for name in self._aliases(word, flags)}
        return [name for flag in flags for name in flag.names.split() if name.startswith("--") and name not in used]

    def _aliases(self, word: str, flags: list[Flag]) -> list[str]:
        return next((f.names.split() for f in flags if word in f.names.split() and f.kind != "many"), [])

    def _command(self, words: list[str]) -> Command[Any] | None:
        required = tuple(_required(words))
        lengths = range(len(required), 0, -1)
        return next((c for length in lengths if (c := self._session.commands.get(required[:length]))), None)

    def _next_words(self, words: list[str]) -> list[str]:
        place = len(words)
        known = [command for command in self._session.commands if list(command[:place]) == words]
        return list(dict.fromkeys(command[place] for command in known if len(command) > place))

    def _values(self, flag: Flag, fragment: str) -> list[str]:
        if flag.choices:
            return list(flag.choices)
        if flag.kind == "yes-no":
            return ["true", "false"]
        if flag.completes == "path":
            return _paths(fragment)
        if flag.completes == "setting":
            return list(SETTINGS)
        if flag.completes == "profile":
            return list(self._session.config.profiles())
        if flag.completes == "operation":
            return self._operations
        return self._names(flag.completes) if flag.completes in _NAMES else []

    def _names(self, kind: str) -> list[str]:
        kept = self._kept.get(kind)
        if kept is None or time.monotonic() - kept[0] > _FRESH_SECONDS:
            thread = self._fetching.get(kind)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=self._fetch, args=(kind,), name="mlmgmt-completer", daemon=True)
                self._fetching[kind] = thread
                thread.start()
            thread.join(self._patience)
        return self._kept.get(kind, (0.0, []))[1]

    @passive()
    def _fetch(self, kind: str) -> None:
        try:
            workspace = self._session.reachable()
            names = _NAMES[kind](workspace) if workspace is not None else []
        except MlmgmtError:
            return  # the server cannot be reached: keep the cached names
        self._kept[kind] = (time.monotonic(), names)


def _required(words: list[str]) -> list[str]:
    return [word for word in words if word not in OPTIONAL_WORDS]


def _paths(fragment: str) -> list[str]:
    """Return the files and folders that complete a fragment. Folders end in `/`."""
    head, slash, tail = fragment.rpartition("/")
    folder = Path(head + slash).expanduser() if slash else Path()
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    names = [f"{head}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in found]
    return [
        name for name, path in zip(names, found, strict=True) if tail.startswith(".") or not path.name.startswith(".")
    ]
