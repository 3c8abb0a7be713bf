"""Settings and their sources: arguments, then the environment, then the profile in the configuration file.

The file is TOML: `profile` names the current profile, and `[profiles.NAME]` has its settings. It contains no tokens.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from mlmgmt_nb.errors import UsageError

__all__ = ["DEFAULTS", "SETTINGS", "Config", "Setting"]

SETTINGS: Mapping[str, str] = {
    "home": "state folder of the embedded service",
    "base_url": "URL of an account, or of a server, instead of the embedded service",
    "subscription": "subscription of the account, where the URL does not name it",
    "resource_group": "resource group of the account",
    "account": "name of the account",
    "sign_in": "method of signing in with Azure AD: default, cli, device-code, browser or service-principal",
    "tenant": "tenant to sign in at",
    "client_id": "application to sign in as",
    "certificate": "file with the certificate and key of a service principal",
    "authority": "authority to sign in at, for a sovereign cloud",
    "scope": "scope to request Azure AD tokens for: api://.../.default",
    "token_cache": "yes to keep tokens in the encrypted cache of azure-identity",
    "compute": "compute that images are built for and services run on",
    "output": "form of the shell's output: table, wide, json, tsv or csv",
}
"""The settings of a profile, with their descriptions."""

DEFAULTS: Mapping[str, str] = {"compute": "local", "output": "table"}
"""Default values. Other settings have no default."""
_FIRST_PROFILE = "default"


class Setting(NamedTuple):
    """A setting: its value and source."""

    name: str
    value: str | None
    source: str


class Config:
    """The configuration file and the environment.

    Args:
        path: the file, which may not exist yet (default: MLMGMT_CONFIG, or a file in the user's configuration folder).
        environment: the environment variables.
    """

    def __init__(self, path: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        default = Path(platformdirs.user_config_dir("mlmgmt-nb", appauthor=False)) / "config.toml"
        self.path = path or Path(self._environment.get("MLMGMT_CONFIG") or default)

    def settings(self, arguments: Mapping[str, str | None], profile: str | None = None) -> dict[str, Setting]:
        """Return every setting with its source.

        Args:
            arguments: settings from arguments; None means not given.
            profile: the profile to use (default: from the environment, then from the file).

        Raises:
            UsageError: the file cannot be read, or has no such profile.
        """
        name, chosen_by = self.profile(profile)
        stored = self._profiles().get(name, {})
        found = {"profile": Setting("profile", name, chosen_by)}
        for key in SETTINGS:
            variable = f"MLMGMT_{key.upper()}"
            if arguments.get(key) is not None:
                found[key] = Setting(key, str(arguments[key]), f"the argument --{key.replace('_', '-')}")
            elif self._environment.get(variable):
                found[key] = Setting(key, self._environment[variable], f"the environment: {variable}")
            elif key in stored:
                found[key] = Setting(key, str(stored[key]), f"{self.path}: [profiles.{name}]")
            else:
                found[key] = Setting(key, DEFAULTS.get(key), "default")
        has_token = bool(self._environment.get("MLMGMT_TOKEN"))
        shown = ("***", "the environment: MLMGMT_TOKEN") if has_token else (None, "the state folder, or none")
        found["token"] = Setting("token", *shown)
        return found

    def profile(self, given: str | None = None) -> tuple[str, str]:
        """Return the current profile, and the source of that choice.

        Raises:
            UsageError: the profile does not exist.
        """
        choices = [
            (given, "the argument --profile"),
            (self._environment.get("MLMGMT_PROFILE"), "the environment: MLMGMT_PROFILE"),
            (self._read().get("profile"), str(self.path)),
        ]
        name, source = next(((str(name), source) for name, source in choices if name), (_FIRST_PROFILE, "default"))
        if name != _FIRST_PROFILE and name not in self._profiles():
            raise UsageError(
                f"profile {name!r} does not exist ({source})",
                field="profile",
                fix=f"`account list` lists the profiles; `account create -n {name}` creates this one.",
            )
        return name, source

    def profiles(self) -> dict[str, dict[str, str]]:
        """Return all profiles with their settings."""
        return {_FIRST_PROFILE: {}} | {name: dict(stored) for name, stored in self._profiles().items()}

    def use(self, profile: str) -> None:
        """Switch to a profile."""
        self.profile(profile)
        document = self._document()
        document["profile"] = profile
        self._write(document)

    def set(self, profile: str, values: Mapping[str, str | None]) -> None:
        """Change settings of a profile, and create the profile if it does not exist. None removes a setting.

        Raises:
            UsageError: a setting is unknown.
        """
        document = self._document()
        stored = document.setdefault("profiles", {}).setdefault(profile, {})
        for key, value in values.items():
            if key not in SETTINGS:
                raise UsageError(f"unknown setting {key!r}", field=key, fix=f"Use one of {', '.join(SETTINGS)}.")
            if value is None:
                stored.pop(key, None)
            else:
                stored[key] = value
        self._write(document)

    def _profiles(self) -> Mapping[str, Mapping[str, Any]]:
        profiles = self._read().get("profiles", {})
        if not all(isinstance(stored, Mapping) for stored in profiles.values()):
            raise UsageError(
                f"{self.path}: a profile is a table, such as [profiles.team]",
                field="profiles",
                fix="Correct that file.",
            )
        return profiles  # type: ignore[no-any-return]

    def _read(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(
                f"{self.path} cannot be read: {error}", field="config", fix="Correct that file."
            ) from error

    def _document(self) -> Any:
        """Return the file as a document that keeps its comments and layout."""
        import tomlkit  # only needed to write the file

        return tomlkit.parse(self.path.read_text(encoding="utf-8")) if self._read() else tomlkit.document()

    def _write(self, document: Any) -> None:
        import tomlkit

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(tomlkit.dumps(document), encoding="utf-8")
        beside.replace(self.path)
