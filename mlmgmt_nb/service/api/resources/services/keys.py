"""The keys of a service."""

from __future__ import annotations

import secrets

from sqlalchemy import update

from mlmgmt_nb.contract import AuthKeys, ServiceRegenerateKeyRequest
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.services.rows import candidate_row, service_of
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.store import schema

__all__ = ["get_keys", "new_key", "regenerate_keys"]


def get_keys(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        row = service_of(db, call, or_candidate=True)
    return Reply(200, AuthKeys(primary_key=row.primary_key, secondary_key=row.secondary_key))


def regenerate_keys(call: Call) -> Reply:
    request: ServiceRegenerateKeyRequest = call.body
    services = schema.services
    column = "secondary_key" if request.key_type == "Secondary" else "primary_key"
    with call.backend.store.writing() as db:
        row = service_of(db, call)
        candidate = candidate_row(db, row)
        ids = [row.id] if candidate is None else [row.id, candidate.id]
        values = {column: new_key(), "updated_at": now()}
        db.execute(update(services).where(services.c.id.in_(ids)).values(values))
    # Respond after the replicas have the keys: then the new key works and the old key does not.
    for service_id in ids:
        call.backend.keys_changed(service_id)
    return get_keys(call)


def new_key() -> str:
    """Return a random key. It does not begin with a hyphen: programs would take it for a flag, or for a formula."""
    while (key := secrets.token_urlsafe(32)).startswith("-"):
        pass
    return key
