"""Deployments: the images that each service ran, from when to when. They outlive their service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import select

from mlmgmt_nb.contract.extensions import ChangeRecord, DeploymentRecord
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.store import schema

__all__ = ["deployment_of", "get", "list_"]


def list_(call: Call) -> Reply:
    table = schema.deployments
    query = select(table).where(table.c.account == call.account).order_by(table.c.seq.desc())
    if (service_id := call.query.get("serviceId")) is not None:
        query = query.where(table.c.service_id == service_id)
    with call.backend.store.reading() as db:
        return Reply(200, [deployment_of(row._asdict()) for row in db.execute(query)])


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, deployment_of(row_of(db, call, schema.deployments)._asdict()))


def deployment_of(row: Mapping[str, Any]) -> DeploymentRecord:
    """Return a deployment from the columns of its row, with the record of its change."""
    record: ChangeRecord | None = row["change"]
    return DeploymentRecord(
        id=row["id"],
        service_name=row["service_name"],
        image_id=row["image_id"],
        status=row["status"],
        created_at=row["created_at"],
        expired_at=row["expired_at"],
        **({} if record is None else msgspec.structs.asdict(record)),
    )
