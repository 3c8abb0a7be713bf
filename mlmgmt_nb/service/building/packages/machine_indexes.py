"""The package indexes in the configuration of a machine, as options of a requirements file.

They come before the indexes of the requirements: a package that a company's own index has is not taken from another.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlsplit

from mlmgmt_nb.contract.requirements import Option, is_local

__all__ = ["UV_INDEXES", "PipConfigError", "options_of_pip", "options_of_uv"]

_DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_EXTRA = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_HOSTS = "UV_INSECURE_HOST"
UV_INDEXES = frozenset({*_DEFAULT, *_EXTRA, _HOSTS})
"""The variables that `options_of_uv` reads."""
_NAMED = re.compile(r"(?P<name>[\w-]+)=(?P<url>.+)")
_PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "trusted-host")


class PipConfigError(ValueError):
    """The text is not a configuration file of pip."""


def options_of_uv(environment: Mapping[str, str]) -> list[Option]:
    """Return the indexes and trusted hosts in the environment variables of `uv`."""
    default = next((environment[name] for name in _DEFAULT if environment.get(name)), "")
    extra = [url for name in _EXTRA for url in environment.get(name, "").split()]
    return [
        *(Option(0, "--index-url", _with_login(url, environment)) for url in default.split()),
        *(Option(0, "--extra-index-url", _with_login(url, environment)) for url in extra),
        *(Option(0, "--trusted-host", host) for host in environment.get(_HOSTS, "").split()),
    ]


def _with_login(value: str, environment: Mapping[str, str]) -> str:
    """Return the URL of `NAME=URL`, with the login from the variables for this name."""
    found = _NAMED.fullmatch(value)
    if not found:
        return value
    prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', found['name'].upper())}_"
    user, password = (environment.get(f"{prefix}{part}", "") for part in ("USERNAME", "PASSWORD"))
    parts = urlsplit(found["url"])
    if not (user or password) or "@" in parts.netloc:
        return found["url"]
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()


def options_of_pip(text: str) -> list[Option]:
    """Return the indexes, folders on servers and trusted hosts in a configuration file of pip.

    Raises:
        PipConfigError: the text is not a configuration file; the message does not repeat any of it.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise PipConfigError("not a configuration file of pip") from error
    # The section of the command takes precedence, as in pip.
    found = {
        key.replace("_", "-"): value
        for section in ("global", "install")
        if parser.has_section(section)
        for key, value in parser.items(section)
    }
    return list(_pip_options(found))


def _pip_options(found: Mapping[str, str]) -> Iterator[Option]:
    if found.get("no-index", "").lower() in {"1", "true", "yes", "on", "t", "y"}:
        yield Option(0, "--no-index")
    for name in _PIP_OPTIONS:
        for value in found.get(name, "").split():
            # A local folder is a folder in the image; pip reads that option itself.
            if name != "find-links" or not is_local(value):
                yield Option(0, f"--{name}", value)
