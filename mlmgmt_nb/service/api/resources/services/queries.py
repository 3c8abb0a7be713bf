"""List and get services: the responses of the API, from the rows of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, false, or_, select

from mlmgmt_nb.contract import ComputeResource, Model
from mlmgmt_nb.contract.extensions import CandidateSummary, DeploymentRecord, Service, ServiceCreate
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.paging import Page, page
from mlmgmt_nb.service.api.resources.deployments import deployment_of
from mlmgmt_nb.service.api.resources.images import image_of
from mlmgmt_nb.service.api.resources.lookup import as_dicts, in_account
from mlmgmt_nb.service.api.resources.services.rows import DEPLOYMENT_LABELS, IMAGE_LABELS, LISTED, selected, service_of
from mlmgmt_nb.service.gateway.gateway import first_of_names
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.reconciling.specs import replica_count
from mlmgmt_nb.service.store import schema

__all__ = ["get", "list_", "responses"]


def list_(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        rows, next_link = page(db, _filtered(db, call), schema.services, call.query, f"{call.base_url}/services")
        return Reply(200, Page(responses(db, rows, call), next_link))


def _filtered(db: Connection, call: Call) -> Select[Any]:
    """Select the services of the account that match the filters of a request."""
    services, manifests, images = schema.services, schema.manifests, schema.images
    columns = {
        "serviceName": services.c.name,
        "manifestId": manifests.c.id,
        "manifestName": manifests.c.name,
        "imageId": images.c.id,
    }
    # The account has few services of a name; other filters are selective by the indexes of images and models.
    by_others = {"manifestId", "manifestName", "imageId", "modelId", "modelName"} & call.query.keys()
    is_filtered = bool(by_others) and "serviceName" not in call.query
    query = selected(LISTED).where(in_account(services, call.account, is_filtered=is_filtered))
    query = query.where(services.c.candidate_of.is_(None))
    for name, column in columns.items():
        if (value := call.query.get(name)) is not None:
            query = query.where(column == value)
    if "manifestName" in call.query:
        query = query.where(manifests.c.account == call.account)
    if (compute_id := call.query.get("computeResourceId")) is not None:
        query = query.where(_on_compute(db, call.account, compute_id))
    links, models = schema.manifest_models, schema.models
    of_manifest = select(links.c.manifest_id)
    if (model_id := call.query.get("modelId")) is not None:
        query = query.where(manifests.c.id.in_(of_manifest.where(links.c.model_id == model_id)))
    if (model_name := call.query.get("modelName")) is not None:
        named = of_manifest.join(models, models.c.id == links.c.model_id)
        named = named.where(models.c.account == call.account, models.c.name == model_name)
        query = query.where(manifests.c.id.in_(named))
    return query


def _on_compute(db: Connection, account: str, compute_id: str) -> ColumnElement[bool]:
    """Return the condition that services are on a compute, given by its id or an alias.

    Query planners do not combine two indexes in page order. The id of a compute is rarely also an alias, so one column
    with its own index is usually enough.
    """
    services = schema.services
    columns = (services.c.compute_id, services.c.compute_given)
    of_account = select(services.c.seq).where(services.c.account == account).limit(1)
    return or_(
        false(), *(column == compute_id for column in columns if db.scalar(of_account.where(column == compute_id)))
    )


def get(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        return Reply(200, responses(db, [service_of(db, call, or_candidate=True)], call)[0])


def responses(db: Connection, rows: Sequence[Row[Any]], call: Call) -> list[Service]:
    """Return services, and candidates as services, from their rows."""
    models = _models(db, {row.image_manifest_id for row in rows})
    candidates = _candidates(db, [row.id for row in rows])
    settings = call.backend.settings
    # With a TLS certificate, services listen on loopback, and clients use the port that serves TLS.
    front = settings.public_url or (call.base_url.partition("/api/")[0] if settings.tls else None)
    names = [row.name.partition("/")[0] for row in rows]
    first = first_of_names(db, names) if front else {}
    found = []
    for name, row in zip(names, as_dicts(rows), strict=True):
        is_first = first.get(name) == (row["candidate_of"] or row["id"])
        service = _response(
            row,
            models.get(row["image_manifest_id"], []),
            call.base_url,
            _scoring_uri(row, call, front, is_first=is_first),
        )
        if (candidate := candidates.get(row["id"])) is not None:
            uri = _scoring_uri(candidate, call, front, is_first=is_first)
            summary = CandidateSummary(
                id=candidate["id"], state=candidate["state"], scoring_uri=uri, expires_at=candidate["expires_at"]
            )
            service = msgspec.structs.replace(service, candidate=summary)
        found.append(service)
    return found


def _candidates(db: Connection, service_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of the candidates of services, by the ids of these services."""
    query = selected().where(schema.services.c.candidate_of.in_(service_ids))
    return {row["candidate_of"]: row for row in as_dicts(db.execute(query).all())}


def _models(db: Connection, manifest_ids: set[str]) -> dict[str, list[msgspec.Raw]]:
    links, models = schema.manifest_models, schema.models
    query = (
        select(links.c.manifest_id, models.c.doc)
        .join(models, models.c.id == links.c.model_id)
        .where(links.c.manifest_id.in_(manifest_ids))
        .order_by(links.c.manifest_id, links.c.position)
    )
    found: dict[str, list[msgspec.Raw]] = {}
    for manifest_id, doc in db.execute(query).all():
        found.setdefault(manifest_id, []).append(msgspec.Raw(doc))
    return found


def _response(values: dict[str, Any], models: list[msgspec.Raw], base_url: str, scoring_uri: str | None) -> Service:
    spec: ServiceCreate = values["spec"]
    image = image_of({name: values[label] for name, label in IMAGE_LABELS.items()}, values["manifest_doc"], base_url)
    return Service(
        compute_resource=ComputeResource(id=values["compute_given"] or values["compute_id"], type="Cluster"),
        id=values["id"],
        name=values["name"],
        state=values["state"],
        created_at=values["created_at"],
        updated_at=values["updated_at"],
        scoring_uri=scoring_uri,
        image=image,
        manifest=image.manifest,
        models=cast("list[Model]", models),
        error=values["error"],
        app_insights_enabled=spec.app_insights_enabled,
        auto_scaler=spec.auto_scaler,
        container_resource_reservation=spec.container_resource_reservation,
        data_collection=spec.data_collection,
        max_concurrent_requests_per_container=spec.max_concurrent_requests_per_container,
        num_replicas=replica_count(spec, values["scale"]),
        environment={name: value for name, value in (spec.environment or {}).items() if value is not None},
        secrets=sorted(values["secrets"] or ()),
        warning=values["warning"],
        last_change=_current_deployment(values),
        recording=spec.recording,
    )


def _current_deployment(values: dict[str, Any]) -> DeploymentRecord | None:
    """Return the current deployment; None if it has no record of its change."""
    if values[DEPLOYMENT_LABELS["change"]] is None:
        return None
    columns = {name: values[label] for name, label in DEPLOYMENT_LABELS.items()}
    return deployment_of({**columns, "id": values["deployment_id"]})


def _scoring_uri(row: dict[str, Any], call: Call, front: str | None, *, is_first: bool) -> str | None:
    """Return the scoring URL: at the cluster itself, if it exposes services; at the front door, if its origin is given;
    or at the service's own port on the host of the request. At the front door, the first service of a name is addressed
    by name and others by id. A service whose creation failed does not have a scoring URL.
    """
    if row["port"] is None or row["deployment_status"] in {"Failed", "Cancelled"}:
        return None
    name, separator, rest = row["name"].partition("/")  # a candidate's name begins with that of its service
    if call.backend.computes.is_exposed(row["compute_id"]) and not separator:
        return call.backend.computes.exposed_url(row["compute_id"], row["id"])
    if front is not None:
        place = name if is_first else row["candidate_of"] or row["id"]
        return f"{front}/api/v1/service/{place}{separator}{rest}/score"
    host = urlsplit(call.base_url).hostname or ""
    return f"http://{f'[{host}]' if ':' in host else host}:{row['port']}/api/v1/service/{name}/score"
