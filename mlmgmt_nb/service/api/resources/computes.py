"""The computes of this service, their availability, and their aliases. An extension."""

from __future__ import annotations

import re
import sys

from sqlalchemy import delete, func, insert, select

from mlmgmt_nb.contract.limits import MAX_ITEMS, OTHERWISE, too_long
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.compute_ids import LOCAL
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import bad_field, conflict, not_found
from mlmgmt_nb.service.store import schema

__all__ = ["alias", "list_", "prepare", "remove_alias"]

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_MOST_MODULES = 200


def list_(call: Call) -> Reply:
    """Return the computes as `value`: `id`, `state` (`ready` or `unavailable`), and the `reason` if not ready.

    Aliases follow, with the id of their compute as `aliasOf`.
    """
    return Reply(200, {"value": call.backend.computes.all_of(call.account)})


def alias(call: Call) -> Reply:
    """Make `id`, such as a cluster or a resource id of 2017, another name of the compute `computeId` (in the query)."""
    compute_id = call.query.get("computeId", "")
    if not call.backend.computes.has(compute_id):
        known = ", ".join(
            each["id"] or "" for each in call.backend.computes.all_of(call.account) if "aliasOf" not in each
        )
        raise not_found("compute", compute_id, "computeId", f"The computes are: {known}.")
    if call.backend.computes.has(call.id):
        raise bad_field("id", f"{call.id!r} is a compute; choose another name for the alias.")
    if problem := too_long("id", call.id):
        raise bad_field("id", problem, "TooLong")
    table = schema.compute_aliases
    own_aliases = table.c.account == call.account
    with call.backend.store.writing() as db:
        db.execute(delete(table).where(own_aliases, table.c.name == call.id))
        if (db.scalar(select(func.count()).select_from(table).where(own_aliases)) or 0) >= MAX_ITEMS[OTHERWISE]:
            raise conflict(
                "TooManyAliases", f"The account has {MAX_ITEMS[OTHERWISE]} aliases, the maximum; remove some."
            )
        db.execute(insert(table).values(account=call.account, name=call.id, compute_id=compute_id))
    return Reply(200, {"id": call.id, "aliasOf": compute_id})


def remove_alias(call: Call) -> Reply:
    """Remove an alias; 204 if there is none. Images and services keep their compute."""
    table = schema.compute_aliases
    with call.backend.store.writing() as db:
        removed = db.execute(delete(table).where(table.c.account == call.account, table.c.name == call.id)).rowcount
    return Reply(200 if removed else 204)


def prepare(call: Call) -> Reply:
    """Prepare the first replica of the service `serviceName`, which is about to be created on the compute `local`.

    `modules`: modules that its driver imports, separated by commas; without any, those of an earlier request for the
    same name are given up. `pythonInterpreter`: its Python. All are in the query. Nothing depends on the result: 204 in
    any case.
    """
    if call.id != LOCAL:
        raise not_found("compute", call.id, "id", f"Only {LOCAL} prepares replicas.")
    modules = [name for name in call.query.get("modules", "").split(",") if name]
    if unfit := next((name for name in modules if not _MODULE.fullmatch(name)), None):
        raise bad_field("modules", f"{unfit!r} is not the name of a module.")
    if len(modules) > _MOST_MODULES:
        raise bad_field("modules", f"has {len(modules):,} names; the maximum is {_MOST_MODULES}.", "TooLong")
    name = call.query.get("serviceName", "")
    if not name:
        raise bad_field("serviceName", "is missing.", "Missing")
    interpreter = call.query.get("pythonInterpreter", sys.executable)
    call.backend.prepare_replica(interpreter, f"{call.account}/{name}", tuple(modules))
    return Reply(204)
