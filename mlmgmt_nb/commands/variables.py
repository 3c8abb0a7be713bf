"""The environment variables and secrets of a service, from flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mlmgmt_nb.client import ServiceSettings
from mlmgmt_nb.commands.flags import VariablesArguments
from mlmgmt_nb.errors import UsageError

__all__ = ["referenced", "variables"]

_FIX = "Use NAME=env:VARIABLE, NAME=file:PATH, or NAME alone for the variable of that name in your environment."


def variables(arguments: VariablesArguments) -> ServiceSettings:
    """Return the settings `environment` and `secrets` of a service.

    Raises:
        UsageError: a flag is malformed, or its variable or file does not exist. The message does not contain values.
    """
    environment: dict[str, str | None] = {**_environment(arguments)}
    secrets: dict[str, str | None] = {}
    for given in arguments.secret:
        secrets |= given if isinstance(given, Mapping) else dict([_secret(str(given))])
    for name in arguments.remove_env:
        if name in environment or name in secrets:
            raise UsageError(f"--remove-env: {name} is also given a value", field="remove_env", fix="Leave one out.")
        environment[name] = secrets[name] = None
    return {"environment": environment or None, "secrets": secrets or None}


def _environment(arguments: VariablesArguments) -> dict[str, str]:
    from mlmgmt_nb.scoring.application.variables import read_variables

    given = arguments.env
    texts = [each for each in given if not isinstance(each, Mapping)]
    try:
        found = read_variables(map(str, texts), [Path(path).expanduser() for path in arguments.env_file])
    except (ValueError, OSError) as error:  # ValueError: also for files that are not UTF-8
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise UsageError(text, field="env", fix="Use --env NAME=VALUE, or --env-file with such lines.") from error
    for mapping in (each for each in given if isinstance(each, Mapping)):
        found |= mapping
    return found


def _secret(text: str) -> tuple[str, str]:
    """Return the name and value of a secret that is given by reference."""
    name, equals, reference = text.partition("=")
    if not name.isidentifier():  # the message omits the text, which may be a value
        raise UsageError("--secret: does not begin with the name of a variable", field="secret", fix=_FIX)
    return name, referenced(reference if equals else f"env:{name}", f"--secret {name}", "secret")


def referenced(reference: str, flag: str, field: str) -> str:
    """Return a value that is given by reference: `env:VARIABLE` or `file:PATH`.

    Args:
        reference: the reference.
        flag: the flag, for errors.
        field: its argument, for errors.

    Raises:
        UsageError: the text is not a reference, or its variable or file does not exist.
    """
    kind, _, place = reference.partition(":")
    match kind:
        case "env" if place in os.environ:
            return os.environ[place]
        case "env":
            raise UsageError(f"{flag}: the variable {place!r} is not set", field=field, fix=_FIX)
        case "file" if place:
            return _content(flag, field, Path(place).expanduser())
    # The message omits the text: it may be the value itself.
    raise UsageError(f"{flag}: not a reference; shells and notebooks keep values", field=field, fix=_FIX)


def _content(flag: str, field: str, path: Path) -> str:
    """Return the content of a file without its final line break, which editors add."""
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"{flag}: {path}: {error.strerror}", field=field, fix=_FIX) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{flag}: {path} is not UTF-8 text", field=field, fix=_FIX) from error
