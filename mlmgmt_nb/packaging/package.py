"""A package: an application folder made from a fitted object, a function or a model file, and verified on a sample."""

from __future__ import annotations

import ast
import numbers
import os
import platform
import reprlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlmgmt_nb.errors import PackagingError, UsageError
from mlmgmt_nb.named_modules import imported_modules
from mlmgmt_nb.packaging.distributions import InstalledDistributions
from mlmgmt_nb.packaging.driver import SCHEMA, driver_text
from mlmgmt_nb.packaging.isolated_run import IsolatedRun, run_isolated
from mlmgmt_nb.packaging.local_modules import LocalModules, imports_of
from mlmgmt_nb.packaging.metadata import description, git_commit, tags
from mlmgmt_nb.packaging.proof import Proof, compare
from mlmgmt_nb.packaging.requirements import requirements_text
from mlmgmt_nb.packaging.samples.sample import Sample, example_of, levels, type_of
from mlmgmt_nb.packaging.written_model import (
    WrittenModel,
    copied_dependencies,
    emptied_on_failure,
    empty_folder,
    path_of_model,
    written_from_file,
    written_from_object,
)
from mlmgmt_nb.scoring.encoding.encoder import encode_value
from mlmgmt_nb.scoring.schema import ArgumentType, DataTypes, InputError, ServiceSchema, save_schema
from mlmgmt_nb.short_repr import ShortRepr

__all__ = ["Package", "package", "write_package"]

DRIVER, REQUIREMENTS = "score.py", "requirements.txt"


@dataclass(frozen=True, repr=False)
class Package(ShortRepr):
    """An application folder that is ready to deploy. You can edit its files first.

    Attributes:
        folder: the folder.
        flavour: the framework.
        format: the format of the model file.
        model: the model file or folder.
        driver: the driver.
        schema: its schema file.
        requirements: its requirements file, with the versions of this kernel, or the lines from a model folder.
        dependencies: local modules and other files beside the driver.
        carried: names of local modules, of notebook classes and functions in the pickle, and of dependencies.
        proof: the result of the fresh process; None without a sample.
        facts: metadata of the model.
        notes: notes for the user.
        warnings: warnings from loading the model, such as a pickle of another version of scikit-learn.
        request: the sample as the body of a request; empty without a sample.
        expected: the answer of the fresh process to `request`, as plain JSON values.
    """

    folder: Path
    flavour: str
    format: str
    model: Path
    driver: Path
    schema: Path
    requirements: Path
    dependencies: tuple[Path, ...] = ()
    carried: tuple[str, ...] = ()
    proof: Proof | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    request: bytes = field(default=b"", repr=False)
    expected: Any = field(default=None, repr=False)

    @property
    def summary(self) -> str:
        """The format, the carried code and the proof, in one line."""
        code = f"with {', '.join(self.carried)}" if self.carried else ""
        return "; ".join(filter(None, [self.format, code, str(self.proof or "")]))

    @property
    def tags(self) -> list[str]:
        """The metadata as tags."""
        return tags(self.facts)

    @property
    def description(self) -> str:
        """The metadata as a sentence, and the warnings from loading the model."""
        return "; ".join([description(self.facts), *self.warnings])

    def __str__(self) -> str:
        names = ", ".join(path.name for path in (self.model, self.driver, self.schema, self.requirements))
        lines = [f"{self.folder}: {names}", f"format  {self.format} ({self.flavour})"]
        if self.carried:
            lines.append(f"code    {', '.join(self.carried)}")
        if self.proof is not None:
            lines.append(f"proof   {self.proof}")
        lines += [f"note    {note}" for note in self.notes]
        return "\n".join([*lines, *(f"warning {warning}" for warning in self.warnings)])


def package(
    model: Any,
    *,
    to: str | os.PathLike[str],
    sample: Any = None,
    method: str | None = None,
    example: Any = True,
    tolerance: float = 1e-6,
    metadata: Mapping[str, Any] | None = None,
    dependencies: Iterable[str | os.PathLike[str]] = (),
) -> Package:
    """Write an application folder for a model, and verify it in a fresh process.

    Args:
        model: a fitted object, a function, or the path of a model file or folder.
        to: the folder. It is created if it does not exist, and must be empty otherwise.
        sample: input of the model: rows as a DataFrame or array, text, or a dict of arguments for a function.
        method: method that answers requests (default: `predict`, or the function itself).
        example: True to show rows of the sample as the example of the service, False to show only the types, or other
            rows to show instead.
        tolerance: maximum relative difference between the answers of the notebook and of the package.
        metadata: facts about the model to store with it, such as its metrics.
        dependencies: files and folders that the model reads; they are copied beside the driver.

    Raises:
        UsageError: the model or the sample cannot be used. The message has the reason.
        PackagingError: the package does not return the same answers as the object.
    """
    return write_package(model, to, sample, method, example, tolerance, metadata, dependencies)


def write_package(
    model: Any,
    to: str | os.PathLike[str],
    sample: Any = None,
    method: str | None = None,
    example: Any = True,
    tolerance: float = 1e-6,
    metadata: Mapping[str, Any] | None = None,
    dependencies: Iterable[str | os.PathLike[str]] = (),
    on_modules: Callable[[Collection[str]], None] = lambda _: None,
) -> Package:
    """Implement `package`. Call `on_modules` with the modules that the package imports before it is verified."""
    _check_options(tolerance, metadata, dependencies)
    source = path_of_model(model)
    folder = empty_folder(Path(to))
    with emptied_on_failure(folder):
        write = written_from_object if source is None else written_from_file
        written = write(source or model, sample, method, folder)
        facts = _facts(written, None if source else model, metadata)
        files = tuple(map(Path, dependencies))
        return _PackageWriter(folder, written, facts, example, tolerance, files, on_modules).finished()


def _check_options(tolerance: Any, metadata: Any, dependencies: Any) -> None:
    """Check the options whose types a notebook does not check."""
    if not (isinstance(tolerance, numbers.Real) and float(tolerance) >= 0):
        raise UsageError(f"tolerance is {tolerance!r}", field="tolerance", fix="Give 0 or a small number such as 1e-6.")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise UsageError(
            f"metadata: it is {reprlib.repr(metadata)}",
            field="metadata",
            fix='Give a dict, such as `{"metrics": {"auc": 0.93}}`.',
        )
    if isinstance(dependencies, (str, os.PathLike)):
        raise UsageError(
            "dependencies: it is a path, not a list of paths",
            field="dependencies",
            fix=f"Give `dependencies=[{os.fspath(dependencies)!r}]`.",
        )


@dataclass(frozen=True)
class _PackageWriter:
    """Writes the rest of a package whose model has been written."""

    folder: Path
    written: WrittenModel
    facts: Mapping[str, Any]
    example: Any
    tolerance: float
    given: tuple[Path, ...] = ()
    on_modules: Callable[[Collection[str]], None] = lambda _: None

    @property
    def sample(self) -> Sample:
        """The sample."""
        return self.written.call.sample

    def finished(self) -> Package:
        """Write the driver, schema and requirements, and verify the package."""
        folder, saved, flavour = self.folder, self.written.saved, self.written.flavour
        local_modules = LocalModules(folder, InstalledDistributions())
        local_modules.copy_imported(self._imported_by_model())
        title = f"{self.facts.get('class') or self.facts.get('function') or saved.file} ({flavour.name})"
        text = driver_text(title, saved, self.written.call, self.facts)
        (folder / DRIVER).write_text(text, encoding="utf-8")
        self._write_schema(None)
        given = copied_dependencies(self.given, folder, local_modules.names)
        body = encode_value(dict(self.sample.values)) if self.sample.values else b""
        modules = self._modules(text, local_modules)
        self.on_modules(sorted(_installed({*modules, *imported_modules(ast.walk(ast.parse(text)))}, local_modules)))
        try:
            isolated_run = run_isolated(folder, body, modules, local_modules)
        except UsageError as error:
            error.fix = f"{error.fix or ''}{self.sample.lost_indexes}".strip() or None
            raise
        proof = self._proof(isolated_run) if body else None
        self._write_schema(isolated_run.answer if body else None)
        lines = requirements_text(local_modules.installed, isolated_run.modules, folder, saved.requirements)
        (folder / REQUIREMENTS).write_text(lines, encoding="utf-8")
        return Package(
            folder=folder,
            flavour=flavour.name,
            format=saved.format,
            model=folder / saved.file,
            driver=folder / DRIVER,
            schema=folder / SCHEMA,
            requirements=folder / REQUIREMENTS,
            dependencies=tuple(folder / name for name in (*local_modules.names, *given)),
            carried=(*local_modules.names, *saved.code, *given),
            proof=proof,
            facts=self.facts,
            notes=(*saved.notes, *self.sample.notes, *self._notes_on_hidden_rows()),
            warnings=tuple(_distinct_warnings(isolated_run)),
            request=body,
            expected=isolated_run.answer,
        )

    def _modules(self, driver: str, local_modules: LocalModules) -> set[str]:
        """Return the modules that the driver, the model, the carried code and the schema need."""
        kinds = {kind.data_type for kind in self.sample.types.values()}
        of_schema = {"pandas"} if DataTypes.PANDAS in kinds else {"numpy"} if DataTypes.NUMPY in kinds else set()
        return {*imports_of(driver), *local_modules.imports, *of_schema, *self._imported_by_model()}

    def _imported_by_model(self) -> set[str]:
        """Return the modules named in the model file that this kernel has imported. Other text may be a coincidence."""
        return {name for name in self.written.saved.modules if name in sys.modules}

    def _proof(self, isolated_run: IsolatedRun) -> Proof:
        import msgspec

        expected = self.written.expected
        shows_values = self.example is True
        if expected is None:
            return Proof(self.sample.rows, compared=False, seconds=isolated_run.seconds, shows_values=shows_values)
        largest, differences = compare(msgspec.json.decode(expected), isolated_run.answer, self.tolerance)
        proof = Proof(self.sample.rows, True, largest, differences, isolated_run.seconds, shows_values)
        if differences:
            raise PackagingError(
                f"the package does not return the same answers as the object in the notebook\n{proof}",
                proof=proof,
                fix="Make the model deterministic, or give a `tolerance`; nothing was sent." + self.sample.lost_indexes,
            )
        return proof

    def _write_schema(self, answer: Any) -> None:
        types = {name: self._shown(name, kind) for name, kind in self.sample.types.items()}
        output = {} if answer is None else {"answer": type_of(_first_rows(answer))}
        if self.example is not True:  # the answer may repeat values of the sample
            for kind in output.values():
                kind.example = None
        save_schema(ServiceSchema(types, output), self.folder / SCHEMA)

    def _notes_on_hidden_rows(self) -> list[str]:
        """Return a note on columns whose values are in the schema although the rows of the sample are hidden."""
        columns = levels(self.sample.value) if self.example is not True and self.sample.is_frame else []
        return [f"the schema has the levels of the category columns: {', '.join(columns)}"] if columns else []

    def _shown(self, name: str, kind: ArgumentType) -> ArgumentType:
        """Return the type of an argument, with the example to show."""
        if self.example is False:
            kind.example = None
        elif self.example is not True:
            several = isinstance(self.example, Mapping) and set(self.example) == set(self.sample.types)
            shown = example_of(self.example[name] if several else self.example)
            try:
                kind.parse(shown, "example")
            except InputError as error:
                raise UsageError(str(error), field="example", fix="Give rows like those of the sample.") from error
            kind.example = shown
        return kind


def _facts(written: WrittenModel, model: Any, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    flavour, saved, sample = written.flavour, written.saved, written.call.sample
    facts: dict[str, Any] = {"flavour": flavour.name, "format": saved.format}
    facts |= flavour.metadata(model) if model is not None else {}
    facts |= saved.metadata
    if sample.is_frame:
        facts["columns"] = [str(name) for name in sample.value.columns]
    facts["python"] = platform.python_version()
    facts["commit"] = git_commit(Path.cwd())
    return {name: value for name, value in {**facts, **(metadata or {})}.items() if value is not None}


def _installed(modules: Collection[str], local_modules: LocalModules) -> set[str]:
    """Return the modules that are neither in the package itself nor in the standard library."""
    own = {Path(name).stem for name in local_modules.names} | sys.stdlib_module_names
    return {name for name in modules if name.partition(".")[0] not in own}


def _first_rows(answer: Any) -> Any:
    return answer[:5] if isinstance(answer, list) else answer


def _distinct_warnings(isolated_run: IsolatedRun) -> Sequence[str]:
    """Return the first lines of distinct warnings from loading the model, except for deprecations; at most five."""
    kept = [
        text.partition("\n")[0] for text in isolated_run.warnings if not text.startswith(("Deprecation", "Pending"))
    ]
    return [f"loading it warns of {text}" for text in dict.fromkeys(kept)][:5]
