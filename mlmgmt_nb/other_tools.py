"""Commands and names of other tools, and their counterparts in this package.

The commands, the magics and the Python names of this package suggest the counterparts in errors. The guide "Moving from
other tools" is generated from the same tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["COMMANDS", "PYTHON", "Counterpart", "advice_for_attribute", "advice_for_command", "advice_for_name"]

_NAME = re.compile(r"[A-Za-z_][\w.]*")


class Counterpart(NamedTuple):
    """A command or name of another tool, and its counterpart here.

    Attributes:
        original: the words of a command line after `az ml`, or a Python name.
        command: the command here, without the program.
        python: the Python code here.
        note: further differences, as the end of a sentence.
    """

    original: str
    command: str
    python: str = ""
    note: str = ""


class Advice(NamedTuple):
    """Two sentences: the problem, and the counterpart to use."""

    problem: str
    fix: str


_CONNECT = "connect()"
_ONE_STEP = "endpoint and deployment are one service here"
_NO_JOBS = "train in the notebook, then register the model"
_NO_DATA = "notebooks and drivers read data themselves; models are registered"
_KEPT = "the API has no delete of models, since a service may go back to one; this hides it in lists"
_REALTIME = "services answer one request at a time: call one for each batch"
_COMPUTES = "computes belong to the server"
_PROFILE = "a profile names the account"
_IN_IMAGE = "requirements belong to the image: `-c conda.yml` or `-p requirements.txt`"
_REGISTER = "ws.models.register(path, name)"
_DEPLOY = "ws.deploy(name, model=..., driver=...)"
_APPLICATION = "Application(driver=..., conda=...)"

COMMANDS: Mapping[str, tuple[Counterpart, ...]] = MappingProxyType(
    {
        "azureml-core (v1)": (
            Counterpart("model deploy", "service create", note="with `-m MODEL -f score.py -r python`"),
            Counterpart("model download", "model show", note="`url` is the location of its content"),
            Counterpart("model package", "image create"),
            Counterpart("model profile", "service test", note="it measures latency and throughput"),
            Counterpart("model delete", "model archive", note=_KEPT),
            Counterpart("model update", "model register", note="it adds a version"),
            Counterpart("service get-keys", "service keys"),
            Counterpart("service regen-key", "service keys", note="with `--regen`"),
            Counterpart("service get-access-token", "service keys", note="services take keys"),
            Counterpart("service get-logs", "service logs"),
            Counterpart("endpoint realtime", "service list", note=_ONE_STEP),
            Counterpart("computetarget", "env list", note=_COMPUTES),
            Counterpart("workspace", "account show", note=_PROFILE),
            Counterpart("folder attach", "account set", note=_PROFILE),
            Counterpart("experiment", "model register", note=_NO_JOBS),
            Counterpart("run", "model register", note=_NO_JOBS),
            Counterpart("history", "operation list", note="it lists builds and rollouts"),
            Counterpart("dataset", "model register", note=_NO_DATA),
            Counterpart("pipeline", "model register", note=_NO_JOBS),
        ),
        "azure-ai-ml (v2)": (
            Counterpart("online-endpoint create", "service create", note=_ONE_STEP),
            Counterpart("online-endpoint list", "service list"),
            Counterpart("online-endpoint show", "service show"),
            Counterpart("online-endpoint update", "service update"),
            Counterpart("online-endpoint delete", "service delete"),
            Counterpart("online-endpoint invoke", "service run"),
            Counterpart("online-endpoint get-credentials", "service keys", note="with `--show`"),
            Counterpart("online-endpoint regenerate-keys", "service keys", note="with `--regen`"),
            Counterpart("online-endpoint", "service list", note=_ONE_STEP),
            Counterpart("online-deployment create", "service create", note=_ONE_STEP),
            Counterpart("online-deployment list", "deployment list"),
            Counterpart("online-deployment show", "deployment show"),
            Counterpart("online-deployment update", "service update"),
            Counterpart("online-deployment delete", "service delete", note=_ONE_STEP),
            Counterpart("online-deployment get-logs", "service logs"),
            Counterpart("online-deployment", "deployment list", note=_ONE_STEP),
            Counterpart("endpoint invoke", "service run"),
            Counterpart("endpoint", "service list", note=_ONE_STEP),
            Counterpart("model create", "model register"),
            Counterpart("model archive", "model archive", note="an id archives one version, a name all"),
            Counterpart("environment", "image create", note=_IN_IMAGE),
            Counterpart("batch-endpoint", "service create", note=_REALTIME),
            Counterpart("batch-deployment", "service create", note=_REALTIME),
            Counterpart("compute", "env list", note=_COMPUTES),
            Counterpart("job", "model register", note=_NO_JOBS),
            Counterpart("component", "model register", note=_NO_JOBS),
            Counterpart("schedule", "model register", note=_NO_JOBS),
            Counterpart("data", "model register", note=_NO_DATA),
            Counterpart("datastore", "model register", note=_NO_DATA),
            Counterpart("registry", "model list", note="an account is the registry of its models"),
        ),
    }
)
"""Commands after `az ml`, by tool."""

PYTHON: Mapping[str, tuple[Counterpart, ...]] = MappingProxyType(
    {
        "azureml-core (v1)": (
            Counterpart("Workspace.from_config", "account set", _CONNECT),
            Counterpart("Workspace.get", "account set", _CONNECT),
            Counterpart("Workspace.create", "account create", _CONNECT),
            Counterpart("Workspace.setup", "account create", _CONNECT),
            Counterpart("Workspace.webservices", "service list", "ws.services.list()"),
            Counterpart("Workspace.compute_targets", "env list", "ws.computes()"),
            Counterpart("Workspace.get_default_datastore", "model register", _REGISTER, _NO_DATA),
            Counterpart("Workspace.datasets", "model register", _REGISTER, _NO_DATA),
            Counterpart("Workspace.experiments", "model register", _REGISTER, _NO_JOBS),
            Counterpart("Model.register", "model register", _REGISTER),
            Counterpart("Model.list", "model list", "ws.models.list()"),
            Counterpart("Model.deploy", "service create", _DEPLOY),
            Counterpart("Model.package", "image create", "ws.images.create(name, manifest)"),
            Counterpart("Model.profile", "service test", "ws.services.test(name, cases)"),
            Counterpart("Model", "model show", "ws.models.get(name)"),
            Counterpart("Webservice.deploy", "service create", _DEPLOY),
            Counterpart("Webservice.deploy_from_model", "service create", _DEPLOY),
            Counterpart("Webservice.deploy_from_image", "service create", "ws.services.create(name, image)"),
            Counterpart("Webservice.list", "service list", "ws.services.list()"),
            Counterpart("Webservice", "service show", "ws.services.get(name)"),
            Counterpart("LocalWebservice", "env local", "connect(compute='local')"),
            Counterpart("AciWebservice", "service create", _DEPLOY, "it takes cpu, memory and num_replicas"),
            Counterpart("AksWebservice", "service create", _DEPLOY, "it takes cpu, memory and autoscaler"),
            Counterpart("InferenceConfig", "service create", _APPLICATION),
            Counterpart("ContainerImage", "image create", _APPLICATION),
            Counterpart("Image.create", "image create", "ws.images.create(name, manifest)"),
            Counterpart("Image", "image show", "ws.images.get(id)"),
            Counterpart("CondaDependencies", "image create", _APPLICATION, _IN_IMAGE),
            Counterpart("ComputeTarget", "env list", "ws.computes()", _COMPUTES),
            Counterpart("Experiment", "model register", _REGISTER, _NO_JOBS),
            Counterpart("Run", "model register", _REGISTER, _NO_JOBS),
            Counterpart("Dataset", "model register", _REGISTER, _NO_DATA),
            Counterpart("Datastore", "model register", _REGISTER, _NO_DATA),
            Counterpart("service.run", "service run", "ws.services.run(name, data)"),
            Counterpart("service.get_keys", "service keys", "ws.services.keys(name)"),
            Counterpart("service.regen_key", "service keys", "ws.services.regenerate_key(name)"),
            Counterpart("service.get_logs", "service logs", "ws.services.logs(name).text"),
            Counterpart("service.update", "service update", "ws.services.update(name, image=...)"),
            Counterpart("service.delete", "service delete", "ws.services.delete(name)"),
            Counterpart("service.wait_for_deployment", "operation watch", "poller.result()"),
        ),
        "azure-ai-ml (v2)": (
            Counterpart("MLClient.from_config", "account set", _CONNECT),
            Counterpart("MLClient", "account set", _CONNECT),
            Counterpart("models.create_or_update", "model register", _REGISTER),
            Counterpart("online_endpoints.invoke", "service run", "ws.services.run(name, data)"),
            Counterpart("online_endpoints.get_keys", "service keys", "ws.services.keys(name)"),
            Counterpart("online_endpoints.begin_create_or_update", "service create", _DEPLOY, _ONE_STEP),
            Counterpart("online_endpoints.begin_delete", "service delete", "ws.services.delete(name)"),
            Counterpart("online_endpoints", "service list", "ws.services", _ONE_STEP),
            Counterpart("online_deployments.begin_create_or_update", "service create", _DEPLOY, _ONE_STEP),
            Counterpart("online_deployments.get_logs", "service logs", "ws.services.logs(name).text"),
            Counterpart("online_deployments", "deployment list", "ws.deployments", _ONE_STEP),
            Counterpart("batch_endpoints", "service create", _DEPLOY, _REALTIME),
            Counterpart("batch_deployments", "service create", _DEPLOY, _REALTIME),
            Counterpart("environments", "image create", _APPLICATION, _IN_IMAGE),
            Counterpart("compute", "env list", "ws.computes()", _COMPUTES),
            Counterpart("data", "model register", _REGISTER, _NO_DATA),
            Counterpart("datastores", "model register", _REGISTER, _NO_DATA),
            Counterpart("jobs", "model register", _REGISTER, _NO_JOBS),
            Counterpart("ManagedOnlineEndpoint", "service create", _DEPLOY, _ONE_STEP),
            Counterpart("ManagedOnlineDeployment", "service create", _DEPLOY, _ONE_STEP),
            Counterpart("KubernetesOnlineEndpoint", "service create", _DEPLOY, _ONE_STEP),
            Counterpart("KubernetesOnlineDeployment", "service create", _DEPLOY, _ONE_STEP),
            Counterpart("CodeConfiguration", "service create", "Application(driver=...)"),
            Counterpart("Environment", "image create", _APPLICATION, _IN_IMAGE),
        ),
    }
)
"""Python names, by package. A name that starts with a lowercase letter is an attribute of an object."""

_AZ = "az", "ml"
_OPTIONAL = frozenset({"realtime", "modelmanagement"})


def advice_for_command(words: Iterable[str], prog: str, known: Iterable[tuple[str, ...]]) -> Advice | None:
    """Return the advice for a command of another tool; None for other words.

    Args:
        words: the words before the first flag.
        prog: the program as the user calls it.
        known: the words of each command of this package.
    """
    given = list(words)
    rest = given[given[:1] == ["az"] :]
    rest = rest[rest[:1] == ["ml"] :]
    is_azure = len(rest) < len(given)
    typed = " ".join(given)
    if is_azure and (same := _equivalent(rest, known)):
        return Advice(f"`{typed}` belongs to the Azure command line", f"Use `{prog} {same}`.")
    for tool, entry in _found(_leading_words(rest), COMMANDS):
        return Advice(f"`{typed}` is a command of {tool}", _fix(f"`{prog} {entry.command}`", entry.note))
    for tool, entry in _found(_names(" ".join(rest)), PYTHON):
        use = f"`{prog} {entry.command}`, or `{entry.python}` in Python"
        return Advice(f"`{entry.original}` belongs to {tool}", _fix(use, entry.note))
    if is_azure:
        return Advice(f"`{typed}` belongs to the Azure command line", f"`{prog} -h` lists the commands here.")
    return None


def advice_for_name(name: str) -> Advice | None:
    """Return the advice for a class of another package; None for other names."""
    entries = [(tool, entry) for tool, table in PYTHON.items() for entry in table if name[:1].isupper()]
    return next((_in_python(name, tool, e) for tool, e in entries if e.original.partition(".")[0] == name), None)


def advice_for_attribute(name: str) -> Advice | None:
    """Return the advice for an attribute of another package's `Workspace` or `MLClient`; None for other names."""
    for tool, entry in _found((f"Workspace.{name}", f"MLClient.{name}", name), PYTHON):
        return _in_python(f"Workspace.{name}" if tool.startswith("azureml-core") else name, tool, entry)
    return next(
        (
            _in_python(name, tool, entry)
            for tool, table in PYTHON.items()
            for entry in table
            if entry.original.startswith(f"{name}.") and name != "service"
        ),
        None,
    )


def _in_python(name: str, tool: str, entry: Counterpart) -> Advice:
    use = f"`{entry.python}`, or `mlmgmt {entry.command}` in a cell or shell"
    return Advice(f"`{name}` belongs to {tool}", _fix(use, entry.note))


def _fix(use: str, note: str) -> str:
    return f"Use {use}: {note}." if note else f"Use {use}."


def _found(names: Iterable[str], tables: Mapping[str, tuple[Counterpart, ...]]) -> Iterator[tuple[str, Counterpart]]:
    """Yield the table entries for names, in the order of the names, each with its tool."""
    known = {entry.original: (tool, entry) for tool, table in tables.items() for entry in table}
    return (known[name] for name in names if name in known)


def _leading_words(words: list[str]) -> Iterator[str]:
    """Yield the first two words, the first word, and the first two reversed, as for `create online-endpoint`."""
    for length in (2, 1):
        yield " ".join(words[:length])
    yield " ".join(words[1::-1])


def _names(text: str) -> Iterator[str]:
    """Yield the dotted names in a text, with their parts: for `ws.jobs.list`, also `jobs`."""
    for name in _NAME.findall(text):
        parts = name.strip(".").split(".")
        pieces = [parts[start:end] for start in range(len(parts)) for end in range(len(parts), start, -1)]
        # A single lowercase word may be any variable.
        yield from (".".join(piece) for piece in pieces if len(parts) > 1 or piece[0][:1].isupper())


def _equivalent(words: list[str], known: Iterable[tuple[str, ...]]) -> str | None:
    """Return the leading words that are a command or group of this package, or None."""
    spoken = tuple(word for word in words if word not in _OPTIONAL)
    commands = set(known)
    for length in range(min(len(spoken), 2), 0, -1):
        if spoken[:length] in commands:
            return " ".join(spoken[:length])
    is_group = len(spoken) == 1 and any(command[:1] == spoken for command in commands)
    return spoken[0] if is_group else None
