"""Flags of the command line of 2017 that have no meaning here. Commands accept them, and say that they ignore them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlmgmt_nb.commands.grammar import Flag
from mlmgmt_nb.commands.session import Session

__all__ = ["IGNORED_SETUP", "IGNORED_SKU", "RESOURCE_GROUP", "tell_ignored"]


def _ignored(names: str, what: str, kind: Any = "text") -> Flag:
    return Flag(names, f"{what} in the command line of 2017; ignored", kind)


RESOURCE_GROUP = _ignored("-g --resource-group", "resource group")

IGNORED_SKU = (
    _ignored("-l --location", "Azure region"),
    _ignored("--sku-instances", "number of SKU instances"),
    _ignored("--sku-name", "SKU"),
    _ignored("-d --description", "description"),
    _ignored("-t --tags", "tags"),
)
"""Flags of `account modelmanagement create`."""

IGNORED_SETUP = (
    RESOURCE_GROUP,
    _ignored("-l --location", "Azure region"),
    _ignored("-z --agent-count", "number of machines"),
    _ignored("--agent-vm-size", "size of machines"),
    _ignored("-m --master-count", "number of controllers"),
    _ignored("-a --service-principal-app-id", "service principal"),
    _ignored("-p --service-principal-password", "password of the service principal"),
    _ignored("-s --storage", "storage account"),
    _ignored("-r --acr", "container registry"),
    _ignored("--cert-cname", "name in the certificate"),
    _ignored("--cert-pem", "certificate"),
    _ignored("--key-pem", "key of the certificate"),
    _ignored("-y --yes", "confirmation", "switch"),
)
"""Flags of `env setup`."""


def tell_ignored(session: Session, arguments: Any, flags: Sequence[Flag]) -> None:
    """Say which of these flags were given. Their values are not repeated."""
    given = [flag.names.split()[-1] for flag in flags if getattr(arguments, flag.dest) is not None]
    if given:
        session.tell(f"ignored, as they have no meaning here: {', '.join(given)}")
