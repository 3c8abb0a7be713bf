"""Flags of the 2017 command line that have no effect here. Commands accept them, and report that they ignore them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlmgmt_nb.commands.grammar import Flag, Kind
from mlmgmt_nb.commands.session import Session

__all__ = [
    "INSTALL",
    "RESOURCE_GROUP",
    "SETUP",
    "SKU",
    "ResourceGroupArguments",
    "SetupArguments",
    "SkuArguments",
    "report_ignored",
]


def _ignored(names: str, what: str, kind: Kind = "text") -> Flag:
    return Flag(names, f"{what} in the command line of 2017; ignored", kind)


RESOURCE_GROUP = _ignored("-g --resource-group", "resource group")
INSTALL = Flag("-i --install", "tools of the command line of 2017; ignored", "switch")

SKU = (
    _ignored("-l --location", "Azure region"),
    _ignored("--sku-instances", "number of SKU instances"),
    _ignored("--sku-name", "SKU"),
    _ignored("-d --description", "description"),
    _ignored("-t --tags", "tags"),
)
"""Flags of `account modelmanagement create`."""

SETUP = (
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


@dataclass(frozen=True, kw_only=True)
class ResourceGroupArguments:
    """Argument of `RESOURCE_GROUP`."""

    resource_group: str | None


@dataclass(frozen=True, kw_only=True)
class SkuArguments:
    """Arguments of `SKU`."""

    location: str | None
    sku_instances: str | None
    sku_name: str | None
    description: str | None
    tags: str | None


@dataclass(frozen=True, kw_only=True)
class SetupArguments(ResourceGroupArguments):
    """Arguments of `SETUP`."""

    location: str | None
    agent_count: str | None
    agent_vm_size: str | None
    master_count: str | None
    service_principal_app_id: str | None
    service_principal_password: str | None
    storage: str | None
    acr: str | None
    cert_cname: str | None
    cert_pem: str | None
    key_pem: str | None
    yes: bool


def report_ignored(session: Session, arguments: object, flags: Sequence[Flag]) -> None:
    """Report which of these flags were given, without their values."""
    given = [flag.names.split()[-1] for flag in flags if getattr(arguments, flag.dest) not in (None, False)]
    if given:
        session.tell(f"ignored, as they have no meaning here: {', '.join(given)}")
