"""Services: requested here, realized by the supervisor."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection, Row, Select, insert, or_, select, update

from mlmgmt_nb.contract import (
    AuthKeys,
    ComputeResource,
    Model,
    ServiceRegenerateKeyRequest,
)
from mlmgmt_nb.contract.extensions import Service, ServiceCreate, ServiceUpdate
from mlmgmt_nb.service.api.app import METRICS, Call
from mlmgmt_nb.service.api.paging import Page, page
from mlmgmt_nb.service.api.resources import operations
from mlmgmt_nb.service.api.resources.images import image_of
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.clock import now
from mlmgmt_nb.service.files.logs import log_reply
from mlmgmt_nb.service.gateway.front_door import first_of_names
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import conflict, not_found
from mlmgmt_nb.service.reconciling.specs import (
    Secrets,
    changed,
    check_supported,
    replica_bounds,
    replica_count,
    scaling,
    stored,
)
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.transitions import forget_secrets

__all__ = ["create", "delete_", "get", "get_keys", "list_", "logs", "metrics", "regenerate_keys", "update_"]


def create(call: Call) -> Reply:
    spec, secrets = stored(call.body)
    services = schema.services
    with call.backend.store.writing() as db:
        compute = call.backend.compute(db, call.account, spec.compute_resource.id, "$.computeResource.id")
        _check_image(db, call.account, spec.image_id, compute.id)
        check_supported(spec)
        taken = select(services.c.id).where(
            services.c.account == call.account, services.c.name == spec.name, ~services.c.deleting
        )
        if db.scalar(taken) is not None:
            raise conflict(
                "ServiceNameTaken",
                f"A service named {spec.name!r} already exists; update or delete it, or choose another name.",
            )
        service_id = str(uuid.uuid4())
        call.backend.check_capacity(db, spec, compute.id, service_id)
        deployment_id = _add_deployment(db, call.account, service_id, spec, secrets)
        moment = now()
        db.execute(
            insert(services).values(
                id=service_id,
                account=call.account,
                name=spec.name,
                compute_id=compute.id,
                compute_given=compute.given,
                state="NotStarted",
                deployment_id=deployment_id,
                target_id=deployment_id,
                deleting=False,
                # Start with at least one replica, to find out whether the driver loads.
                scale=max(1, replica_bounds(spec)[0]) if scaling(spec) else None,
                primary_key=_new_key(),
                secondary_key=_new_key(),
                created_at=moment,
                updated_at=moment,
            )
        )
        operation_id = operations.begin(db, call.account, "Service", service_id, compute.warning)
    call.backend.services_changed()
    return operations.accepted(call, operation_id)


def update_(call: Call) -> Reply:
    services = schema.services
    request: ServiceUpdate = call.body
    with call.backend.store.writing() as db:
        row = _row(db, call)
        spec, secrets = changed(row.spec, row.secrets or {}, request)
        _check_image(db, call.account, spec.image_id, row.compute_id)
        check_supported(spec)
        if row.target_id is not None:
            raise conflict("OperationUnderWay", "Another operation on this service is running; wait until it ends.")
        call.backend.check_capacity(db, spec, row.compute_id, row.id)
        deployment_id = _add_deployment(db, call.account, row.id, spec, secrets)
        fewest, most = replica_bounds(spec)
        db.execute(
            update(services)
            .where(services.c.id == row.id)
            .values(
                target_id=deployment_id,
                state="NotStarted",
                scale=max(1, fewest, min(row.scale or 0, most)) if scaling(spec) else None,
                updated_at=now(),
            )
        )
        operation_id = operations.begin(db, call.account, "Service", row.id)
    call.backend.services_changed()
    return operations.accepted(call, operation_id)


def _check_image(db: Connection, account: str, image_id: str, compute_id: str) -> None:
    images = schema.images
    image = db.execute(select(images).where(images.c.account == account, images.c.id == image_id)).one_or_none()
    if image is None:
        raise not_found("image", image_id, "$.imageId")
    if image.state != "Succeeded":
        raise conflict("ImageNotReady", f"$.imageId: the build of this image is in state {image.state}, not Succeeded.")
    if image.compute_id != compute_id:
        raise conflict(
            "ImageOfOtherCompute",
            f"$.imageId: this image was built for compute {image.compute_id!r} and cannot run on {compute_id!r}; "
            f"create an image with computeResourceId {compute_id!r}.",
        )
    if image.collected_at is not None:
        raise conflict(
            "ImageCollected",
            "$.imageId: the files of this image were removed by mlmgmt gc, because no service used it; "
            "create a new image from its manifest.",
        )


def _add_deployment(db: Connection, account: str, service_id: str, spec: ServiceCreate, secrets: Secrets) -> str:
    deployment_id = str(uuid.uuid4())
    db.execute(
        insert(schema.deployments).values(
            id=deployment_id,
            account=account,
            service_id=service_id,
            service_name=spec.name,
            image_id=spec.image_id,
            spec=spec,
            secrets=secrets or None,
            status="Deploying",
            created_at=now(),
        )
    )
    return deployment_id


def delete_(call: Call) -> Reply:
    services, deployments, table = schema.services, schema.deployments, schema.operations
    with call.backend.store.writing() as db:
        found = db.execute(
            update(services)
            .where(services.c.account == call.account, services.c.id == call.id, ~services.c.deleting)
            .values(deleting=True, target_id=None, updated_at=now())
        )
        if found.rowcount == 0:
            return Reply(204)
        db.execute(
            update(deployments)
            .where(deployments.c.service_id == call.id, deployments.c.expired_at.is_(None))
            .values(status="Expired", expired_at=now())
        )
        forget_secrets(db, call.id)
        db.execute(
            update(table)
            .where(table.c.resource_id == call.id, table.c.end_time.is_(None))
            .values(state="Cancelled", end_time=now())
        )
    call.backend.services_changed()
    return Reply(200)


def get_keys(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        row = _row(db, call)
    return Reply(200, AuthKeys(primary_key=row.primary_key, secondary_key=row.secondary_key))


def regenerate_keys(call: Call) -> Reply:
    request: ServiceRegenerateKeyRequest = call.body
    services = schema.services
    column = "secondary_key" if request.key_type == "Secondary" else "primary_key"
    with call.backend.store.writing() as db:
        row = _row(db, call)
        db.execute(update(services).where(services.c.id == row.id).values({column: _new_key(), "updated_at": now()}))
    # Respond once the replicas know: from then on the new key works and the old key does not.
    call.backend.keys_changed(row.id)
    return get_keys(call)


def _new_key() -> str:
    return secrets.token_urlsafe(32)


def list_(call: Call) -> Reply:
    query = _selected().where(schema.services.c.account == call.account)
    manifest_models, models = schema.manifest_models, schema.models
    columns = {
        "serviceName": schema.services.c.name,
        "manifestId": schema.manifests.c.id,
        "manifestName": schema.manifests.c.name,
        "imageId": schema.images.c.id,
    }
    for name, column in columns.items():
        if (value := call.query.get(name)) is not None:
            query = query.where(column == value)
    if (compute_id := call.query.get("computeResourceId")) is not None:
        given = schema.services.c.compute_given
        query = query.where(or_(schema.services.c.compute_id == compute_id, given == compute_id))
    of_manifest = select(manifest_models.c.manifest_id)
    if (model_id := call.query.get("modelId")) is not None:
        query = query.where(schema.manifests.c.id.in_(of_manifest.where(manifest_models.c.model_id == model_id)))
    if (model_name := call.query.get("modelName")) is not None:
        with_model = of_manifest.join(models, models.c.id == manifest_models.c.model_id)
        query = query.where(schema.manifests.c.id.in_(with_model.where(models.c.name == model_name)))
    with call.backend.store.reading() as db:
        rows, next_link = page(db, query, schema.services, call.query, f"{call.base_url}/services")
        return Reply(200, Page(_responses(db, rows, call), next_link))


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, _responses(db, [_row(db, call)], call)[0])


def logs(call: Call) -> Reply:
    """Return the service log as text; `Range: bytes=N-` and `bytes=-N` select a part. 416: the part does not exist."""
    with call.backend.store.reading() as db:
        row = _row(db, call)
    return log_reply(call.backend.service_log(row.id), call.request)


def metrics(call: Call) -> Reply:
    """Return requests, failures, latencies and replicas of a service in the Prometheus text format."""
    with call.backend.store.reading() as db:
        row = _row(db, call)
    return Reply(200, call.backend.metrics(call.request, row.id), media_type=METRICS)


def _selected() -> Select[Any]:
    """Select services with their current deployment, its image and the manifest of that image."""
    services, deployments, images, manifests = schema.services, schema.deployments, schema.images, schema.manifests
    image_columns = [column.label(f"image_{column.name}") for column in images.c]
    return (
        select(
            services,
            deployments.c.spec,
            deployments.c.secrets,
            deployments.c.status,
            *image_columns,
            manifests.c.doc.label("manifest_doc"),
        )
        .join(deployments, deployments.c.id == services.c.deployment_id)
        .join(images, images.c.id == deployments.c.image_id)
        .join(manifests, manifests.c.id == images.c.manifest_id)
        .where(~services.c.deleting)
    )


def _row(db: Connection, call: Call) -> Row[Any]:
    return row_of(db, call, schema.services, _selected())


def _responses(db: Connection, rows: Iterable[Row[Any]], call: Call) -> list[Service]:
    rows = list(rows)
    models = _models(db, {row.image_manifest_id for row in rows})
    settings = call.backend.settings
    # With a TLS certificate, services listen on loopback, and clients use the port that serves TLS.
    front = settings.public_url or (call.base_url.partition("/api/")[0] if settings.tls else None)
    first = first_of_names(db, [row.name for row in rows]) if front else {}
    return [
        _response(
            row,
            models.get(row.image_manifest_id, []),
            call.base_url,
            _scoring_uri(row, call.base_url, front, is_first=first.get(row.name) == row.seq),
        )
        for row in rows
    ]


def _models(db: Connection, manifest_ids: set[str]) -> dict[str, list[Model]]:
    links, models = schema.manifest_models, schema.models
    query = (
        select(links.c.manifest_id, models.c.doc)
        .join(models, models.c.id == links.c.model_id)
        .where(links.c.manifest_id.in_(manifest_ids))
        .order_by(links.c.manifest_id, links.c.position)
    )
    found: dict[str, list[Model]] = {}
    for manifest_id, doc in db.execute(query):
        found.setdefault(manifest_id, []).append(msgspec.json.decode(doc, type=Model))
    return found


def _response(row: Row[Any], models: list[Model], base_url: str, scoring_uri: str | None) -> Service:
    spec: ServiceCreate = row.spec
    image_columns = {
        name.removeprefix("image_"): value for name, value in row._asdict().items() if name.startswith("image_")
    }
    image = image_of(image_columns, row.manifest_doc, base_url)
    return Service(
        compute_resource=ComputeResource(id=row.compute_given or row.compute_id, type="Cluster"),
        id=row.id,
        name=row.name,
        state=row.state,
        created_at=row.created_at,
        updated_at=row.updated_at,
        scoring_uri=scoring_uri,
        image=image,
        manifest=image.manifest,
        models=models,
        error=row.error,
        app_insights_enabled=spec.app_insights_enabled,
        auto_scaler=spec.auto_scaler,
        container_resource_reservation=spec.container_resource_reservation,
        data_collection=spec.data_collection,
        max_concurrent_requests_per_container=spec.max_concurrent_requests_per_container,
        num_replicas=replica_count(spec, row.scale),
        environment={name: value for name, value in (spec.environment or {}).items() if value is not None},
        secrets=sorted(row.secrets or ()),
    )


def _scoring_uri(row: Row[Any], base_url: str, front: str | None, *, is_first: bool) -> str | None:
    """Return the scoring URL: at the front door, if its origin is given, or at the service's own port on the host of
    the request. At the front door, the first service of a name is addressed by name and others by id. A service whose
    creation failed does not have a scoring URL.
    """
    if row.port is None or row.status in {"Failed", "Cancelled"}:
        return None
    if front is not None:
        return f"{front}/api/v1/service/{row.name if is_first else row.id}/score"
    host = urlsplit(base_url).hostname or ""
    return f"http://{f'[{host}]' if ':' in host else host}:{row.port}/api/v1/service/{row.name}/score"
