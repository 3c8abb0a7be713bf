"""The differences between two contents: as data, text and HTML."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlmgmt_nb.client.changes.contents import Contents
from mlmgmt_nb.client.changes.html import page
from mlmgmt_nb.client.changes.requested import unmet
from mlmgmt_nb.client.changes.schema import consequences, schema_of
from mlmgmt_nb.client.http.urls import content_of
from mlmgmt_nb.contract import Model
from mlmgmt_nb.contract.contents import ContentFile
from mlmgmt_nb.short_repr import cut
from mlmgmt_nb.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Change", "Difference", "compare"]

Kind = Literal["schema", "model", "driver", "file", "python", "package", "setting"]
KINDS: tuple[Kind, ...] = ("schema", "model", "driver", "file", "python", "package", "setting")
"""Kinds of changes, starting with those that callers notice."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference.

    Attributes:
        kind: `schema`, `model`, `driver`, `file`, `python`, `package` or `setting`.
        name: the part, such as the path of a file or the name of a package.
        old, new: its state on each side; None if it does not exist there.
        detail: details: the consequence for callers, the properties that differ, or a unified diff.
        breaks: whether requests that succeed today may be refused.
    """

    kind: Kind
    name: str
    old: Any = None
    new: Any = None
    detail: str = ""
    breaks: bool = False

    def __str__(self) -> str:
        sides = ["none" if side is None else str(side) for side in (self.old, self.new)]
        return f"{self.name}: {' -> '.join(sides)}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The differences between two services, deployments, images or sources. Falsy if there are none.

    Example:
        >>> difference = ws.diff("iris", model="iris.pkl", driver="score.py", num_replicas=2)
        >>> [str(change) for change in difference.changes]
        ['num_replicas: 1 -> 2']
        >>> difference.breaking
        []

    Attributes:
        old, new: names of both sides.
        changes: all differences; `to_frame` returns them as a DataFrame.
        notes: parts that could not be compared, in sentences.
    """

    old: str
    new: str
    changes: Sequence[Change]
    notes: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def breaking(self) -> list[str]:
        """The consequences of changes after which requests that succeed today may be refused."""
        return [change.detail for change in self.changes if change.breaks]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {**asdict(self), "changes": [asdict(change) for change in self.changes], "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each difference; the columns are the attributes of `Change`."""
        import pandas as pd

        return pd.DataFrame([asdict(change) for change in self.changes], columns=list(Change.__dataclass_fields__))

    def to_html(self) -> str:
        """Return the differences as HTML that needs no script and no other file."""
        return page(self.old, self.new, [(kind, list(self._of(kind))) for kind in KINDS], self.notes)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        lines = [f"{self.old} -> {self.new}"]
        if not self.changes:
            lines.append("no differences")
        for kind in KINDS:
            for change in self._of(kind):
                lines.append(f"{kind} {change}")
                lines += [f"    {line}" for line in change.detail.splitlines()]
        return printable("\n".join([*lines, *self.notes]))

    def __repr__(self) -> str:
        return f"<Difference {cut(self.old)} -> {cut(self.new)}: {len(self.changes):,} changes>"

    def _of(self, kind: Kind) -> Iterator[Change]:
        return (change for change in self.changes if change.kind == kind)


def compare(old: Contents, new: Contents) -> Difference:
    """Return the differences between two contents."""
    changes = [
        *_schemas(old, new),
        *_models(old.models, new.models),
        *_files(old, new),
        *_pythons(old.python, new.python),
        *_packages(old, new),
        *_settings(old.settings, new.settings),
    ]
    return Difference(old=old.name, new=new.name, changes=changes, notes=list(dict.fromkeys([*old.notes, *new.notes])))


def _schemas(old: Contents, new: Contents) -> Iterator[Change]:
    before, after = _schema(old), _schema(new)
    if before is None or after is None:
        return
    for path, was, becomes, sentence, breaks in consequences(before, after):
        yield Change(kind="schema", name=path, old=was, new=becomes, detail=sentence, breaks=breaks)


def _schema(contents: Contents) -> Any:
    file = contents.files.get(contents.schema or "")
    return None if file is None or file.text is None else schema_of(file.text)


def _models(old: Sequence[Model], new: Sequence[Model]) -> Iterator[Change]:
    before, after = _by_name(old), _by_name(new)
    for name in dict.fromkeys([*before, *after]):
        was, becomes = before.get(name), after.get(name)
        if was is None or becomes is None:
            yield Change(kind="model", name=name, old=_version(was), new=_version(becomes))
        elif was.id != becomes.id or was.version != becomes.version:
            detail = "\n".join(_metadata(was, becomes))
            yield Change(kind="model", name=name, old=_version(was), new=_version(becomes), detail=detail)


def _by_name(models: Sequence[Model]) -> dict[str, Model]:
    """Return models by name; if there are several versions of a name, by name and position."""
    found: dict[str, Model] = {}
    for model in models:
        places = sum(known.name == model.name for known in found.values())
        found[f"{model.name} ({places + 1})" if places else model.name] = model
    return found


def _version(model: Model | None) -> str | None:
    if model is None:
        return None
    return "a new version" if model.version is None else f"version {model.version}"


def _metadata(old: Model, new: Model) -> Iterator[str]:
    """Yield the differences between two versions of a model, a line each."""
    yield f"content: {'the same' if content_of(old.url) == content_of(new.url) else 'differs'}"
    for name in ("description", "tags", "mime_type", "unpack"):
        was, becomes = getattr(old, name), getattr(new, name)
        if was != becomes:
            was, becomes = _differing(was, becomes)
            yield f"{name}: {_shown(was)} -> {_shown(becomes)}"


def _differing(old: Any, new: Any) -> tuple[Any, Any]:
    """Return two values; of two lists with items, only the items that the other list does not have."""
    if old and new and isinstance(old, list):
        return [one for one in old if one not in new], [one for one in new if one not in old]
    return old, new


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _files(old: Contents, new: Contents) -> Iterator[Change]:
    if old.driver != new.driver:
        yield Change(kind="driver", name="driver", old=old.driver, new=new.driver)
    is_compared = _schema(old) is not None and _schema(new) is not None
    for path in dict.fromkeys([*old.files, *new.files]):
        if is_compared and path in {old.schema, new.schema}:
            continue  # its types are compared, and the rest of the file is generated
        was, becomes = old.files.get(path), new.files.get(path)
        if (was and was.sha256) != (becomes and becomes.sha256):
            kind: Kind = "driver" if path in {old.driver, new.driver} else "file"
            yield Change(kind=kind, name=path, old=_size(was), new=_size(becomes), detail=_unified(path, was, becomes))


def _size(file: ContentFile | None) -> str | None:
    return None if file is None else f"{file.size:,} bytes"


def _unified(path: str, old: ContentFile | None, new: ContentFile | None) -> str:
    """Return a unified diff, or nothing for content that is not text or is large."""
    texts = ["" if file is None else file.text for file in (old, new)]
    if None in texts:
        return ""
    before, after = ((text or "").splitlines() for text in texts)
    return "\n".join(difflib.unified_diff(before, after, f"old/{path}", f"new/{path}", lineterm=""))


def _pythons(old: str | None, new: str | None) -> Iterator[Change]:
    if old is not None and new is not None and old != new:
        yield Change(kind="python", name="Python", old=old, new=new)


def _packages(old: Contents, new: Contents) -> Iterator[Change]:
    if old.packages is None:
        return
    if new.packages is not None:
        yield from _values("package", old.packages, new.packages)
    elif new.requested is not None:
        for name, version, wanted in unmet(old.packages, new.requested):
            if version is None and not old.lists_all_packages:
                continue  # such as a package that only other packages need
            yield Change(kind="package", name=name, old=version, new=wanted)


def _values(kind: Kind, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Change(kind=kind, name=name, old=old.get(name), new=new.get(name))


def _settings(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    if old is not None and new is not None:
        yield from _values("setting", old, new)
