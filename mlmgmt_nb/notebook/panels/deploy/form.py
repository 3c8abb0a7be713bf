"""The form of a `DeployPanel`: its values, their validation, and their meaning. It makes no requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlmgmt_nb.client import Application
from mlmgmt_nb.client.http.files import check_readable, is_url
from mlmgmt_nb.contract import ServiceCreateRequest
from mlmgmt_nb.errors import UsageError
from mlmgmt_nb.notebook.panels import limits
from mlmgmt_nb.notebook.panels.deploy.kernel import Kernel, Variable, variable_of

__all__ = ["DEFAULTS", "LIMITED", "arguments", "is_local", "lines", "masked", "object_in", "problems", "suggestions"]

Values = Mapping[str, Any]
"""The values of the form by field: text, or a bool for a checkbox."""

DEFAULTS: Values = MappingProxyType(
    {
        "name": "",
        "models": "",
        "driver": "",
        "sample": "",
        "method": "",
        "schema": "",
        "requirements": "",
        "conda": "",
        "dependencies": "",
        "runtime": "python",
        "compute_resource_id": "local",
        "autoscale": False,
        "num_replicas": "1",
        "min_replicas": "",
        "max_replicas": "",
        "target_utilization": "",
        "refresh_period_in_seconds": "",
        "cpu": "",
        "memory": "",
        "max_concurrent_requests": "",
        "collect_model_data": False,
        "if_exists": "update",
    }
)
"""The values of an untouched form. `models` and `dependencies` have one item per line."""

_AUTOSCALER = ("min_replicas", "max_replicas", "target_utilization", "refresh_period_in_seconds")
LIMITED = {
    "name": "name",
    "compute_resource_id": "compute_resource.id",
    "num_replicas": "num_replicas",
    **{name: f"auto_scaler.{name}" for name in _AUTOSCALER},
    "cpu": "container_resource_reservation.cpu",
    "memory": "container_resource_reservation.memory",
    "max_concurrent_requests": "max_concurrent_requests_per_container",
}
"""The fields whose limits are in the contract, each with its property of `ServiceCreateRequest`."""

_NUMBERS = frozenset({"num_replicas", *_AUTOSCALER, "max_concurrent_requests"})
_FILES = ("driver", "schema", "requirements", "conda")
_SUGGESTED = {
    "driver": (".py",),
    "schema": (".json",),
    "requirements": (".txt",),
    "conda": (".yml", ".yaml"),
    "models": (".pkl", ".pickle", ".joblib", ".onnx", ".h5", ".keras", ".pt", ".pth", ".bin", ".cbm", ".ubj", ".model"),
}
_MOST_SUGGESTIONS = 40
_QUERY = re.compile(r"(\w+://[^\s?]+)\?[^\s'\"]+")
_MASK = "***"


def lines(text: str) -> list[str]:
    """Return the lines of a multiline field."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def masked(text: str) -> str:
    """Mask the query strings of URLs in a text, for display and saving: they may contain keys."""
    return _QUERY.sub(rf"\1?{_MASK}", text)


def is_local(source: str) -> bool:
    """Return whether a model is an object of the notebook, a local file or folder, or a URL: not registered yet."""
    return variable_of(source) is not None or is_url(source) or Path(source).expanduser().exists()


def object_in(values: Values) -> Variable | None:
    """Return the only model if it is an object of the notebook, otherwise None."""
    models = lines(values["models"])
    return variable_of(models[0]) if len(models) == 1 else None


def problems(
    values: Values, is_registered: Callable[[str], bool | None], kernel: Kernel | None = None
) -> dict[str, str]:
    """Return the problems by field, each as a sentence.

    Args:
        values: the form.
        is_registered: returns whether a model with this id or name is registered; None if unknown.
        kernel: the variables of the notebook.
    """
    kernel = kernel or Kernel()
    found = {field: problem for field, problem in _all(values, is_registered, kernel) if problem}
    if not found and not _is_packaged(values):
        try:
            _application(values).check_names()
        except UsageError as error:
            found[error.field or "driver"] = _as_sentence(error, error.field or "")
    return found


def _is_packaged(values: Values) -> bool:
    """Return whether the only model is an object or file that needs no driver."""
    models = lines(values["models"])
    is_file = len(models) == 1 and not is_url(models[0]) and is_local(models[0])
    return is_file and not values["driver"].strip()


def _all(
    values: Values, is_registered: Callable[[str], bool | None], kernel: Kernel
) -> Iterator[tuple[str, str | None]]:
    for field, path in LIMITED.items():
        if _is_used(field, values):
            yield field, _limit(field, path, values[field])
    yield "max_replicas", _order(values)
    for field in _FILES:
        yield field, _file(str(values[field]).strip(), field)
    if not values["driver"].strip() and not _is_packaged(values):
        yield "driver", "Enter the driver, such as score.py, or one model that needs none, such as {clf}."
    yield from _packaging(values, kernel)
    for dependency in lines(values["dependencies"]):
        yield "dependencies", _file(dependency, "dependencies", folders=True)
    yield from _models(values, is_registered, kernel)


def _packaging(values: Values, kernel: Kernel) -> Iterator[tuple[str, str | None]]:
    """Yield the problems of the fields that package a model."""
    sample, method = values["sample"].strip(), values["method"].strip()
    if not _is_packaged(values):
        if any(variable_of(model) for model in lines(values["models"])):
            yield (
                "driver",
                "Clear the driver: an object of the notebook needs none. To use a driver, save the object to a file.",
            )
        yield "sample", "Clear the sample: only a model without a driver has one." if sample else None
        yield "method", "Clear the method: only a model without a driver has one." if method else None
        return
    if sample:
        named = variable_of(sample)
        yield "sample", _variable(named, kernel) if named else "Enter a variable of the notebook, such as {X}."
    elif (model := object_in(values)) is not None and not kernel.is_function(model):
        yield "sample", "Enter rows that the model takes, such as {X}."


def _models(
    values: Values, is_registered: Callable[[str], bool | None], kernel: Kernel
) -> Iterator[tuple[str, str | None]]:
    """Yield the problems of the models: variables of the notebook, files, and registered models."""
    for model in lines(values["models"]):
        if (named := variable_of(model)) is not None:
            yield "models", _variable(named, kernel)
        elif is_local(model):
            yield "models", _file(model, "models", folders=True)
        elif is_registered(model) is False:
            yield "models", f"{model!r} is neither a file nor the name or id of a registered model."


def _variable(named: Variable, kernel: Kernel) -> str | None:
    return None if named in kernel else f"The notebook has no variable {named.name}."


def _is_used(field: str, values: Values) -> bool:
    """Return whether a field applies: autoscaler fields only with autoscaling, the fixed number only without."""
    if field in _AUTOSCALER:
        return bool(values["autoscale"])
    return field != "num_replicas" or not values["autoscale"]


def _limit(field: str, path: str, typed: str) -> str | None:
    try:
        value = _value(field, typed)
    except ValueError:
        return f"Enter {limits.words(ServiceCreateRequest, path)}."
    return limits.check(ServiceCreateRequest, path, value)


def _value(field: str, typed: str) -> str | int | None:
    """Convert typed text to the type of the contract; empty text is None, except for the required name."""
    text = typed.strip()
    if not text and field != "name":
        return None
    return int(text) if field in _NUMBERS else text


def _order(values: Values) -> str | None:
    least, most = values["min_replicas"].strip(), values["max_replicas"].strip()
    if values["autoscale"] and least.isdecimal() and most.isdecimal() and int(least) > int(most):
        return f"Enter at least {least}, the minimum number of replicas."
    return None


def _file(source: str, field: str, *, folders: bool = False) -> str | None:
    if not source or is_url(source):
        return None
    path = Path(source).expanduser()
    if path.is_dir():
        # The content of a folder is checked when it is sent: partly typed paths may name large folders.
        return None if folders else f"{source} is a folder. Enter a file."
    try:
        check_readable(path, field)
    except UsageError as error:
        return _as_sentence(error, field)
    return None


def _as_sentence(error: UsageError, field: str) -> str:
    """Return a client error as a sentence to show beside its field."""
    text = error.message.removeprefix(f"{field}: ")
    return f"{text[:1].upper()}{text[1:]}. {error.fix or ''}".strip()


def arguments(values: Values, compute: str | None = "local") -> dict[str, Any]:
    """Return the arguments of `Workspace.deploy` for the form, without defaults.

    The form must be valid.

    Args:
        values: the form.
        compute: the default compute, which is omitted; None to always include the compute.
    """
    # Registered models first, as in the command, which has a separate flag for them.
    models = sorted(lines(values["models"]), key=is_local)
    given: dict[str, Any] = {"name": values["name"].strip()}
    given["model"] = object_in(values) or (models[0] if len(models) == 1 else models)
    given |= {field: values[field].strip() for field in _FILES}
    given |= {"sample": variable_of(values["sample"]), "method": values["method"].strip()}
    given["dependencies"] = lines(values["dependencies"])
    given |= {field: values[field].strip() for field in ("runtime", "compute_resource_id", "if_exists")}
    given |= _scale(values)
    given |= {field: _value(field, values[field]) for field in ("cpu", "memory", "max_concurrent_requests")}
    given["collect_model_data"] = True if values["collect_model_data"] else None
    defaults = {"runtime": "python", "compute_resource_id": compute, "if_exists": "update"}
    return {name: value for name, value in given.items() if value not in (None, "", [], defaults.get(name))}


def _scale(values: Values) -> dict[str, Any]:
    """Return the argument for the autoscaler, or for the fixed number of replicas."""
    if not values["autoscale"]:
        return {"num_replicas": _value("num_replicas", values["num_replicas"])}
    settings = {name: _value(name, values[name]) for name in _AUTOSCALER}
    given = {name: value for name, value in settings.items() if value is not None}
    return {"autoscaler": {"autoscale_enabled": True, **given}}


def _application(values: Values) -> Application:
    return Application(
        driver=values["driver"].strip(),
        schema=values["schema"].strip() or None,
        requirements=values["requirements"].strip() or None,
        conda=values["conda"].strip() or None,
        dependencies=lines(values["dependencies"]),
        runtime=values["runtime"],
    )


def suggestions(folder: Path) -> dict[str, list[str]]:
    """Suggest files of a folder, by field."""
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return {}
    return {
        field: [name for name in names if name.endswith(endings)][:_MOST_SUGGESTIONS]
        for field, endings in _SUGGESTED.items()
    }
