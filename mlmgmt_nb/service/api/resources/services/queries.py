"""List and get services: the responses of the API, from the rows of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, exists, false, or_, select

from mlmgmt_nb.contract import ComputeResource, Model
from mlmgmt_nb.contract.extensions import CandidateSummary, Service, ServiceCreate
from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.paging import Page, page
from mlmgmt_nb.service.api.resources.deployments import deployment_of
from mlmgmt_nb.service.api.resources.images import image_of
from mlmgmt_nb.service.api.resources.lookup import in_account
from mlmgmt_nb.service.api.resources.services.rows import (
    DEPLOYMENT,
    ID,
    IMAGE,
    MANIFEST_ID,
    NAME,
    SERVICE,
    listed,
    selected,
    service_of,
)
from mlmgmt_nb.service.api.resources.services.scoring_urls import ScoringUrls
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.reconciling.specs import replica_count
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.value_lists import one_of

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
    query = listed().where(in_account(services, call.account, is_filtered=is_filtered))
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


class _Related(NamedTuple):
    """What the services of a response have besides their rows.

    Attributes:
        models: the stored JSON of models, by the id of their manifest.
        candidates: candidates, by the id of their service.
        urls: the scoring URLs.
        base_url: URL of the account.
    """

    models: Mapping[str, list[Model]]
    candidates: Mapping[str, CandidateSummary]
    urls: ScoringUrls
    base_url: str


def responses(db: Connection, rows: Sequence[Row[Any]], call: Call) -> list[Service]:
    """Return services, and candidates as services, from their rows."""
    # By position, which takes a fifth of the time of access by name.
    urls = ScoringUrls(db, call, (row[NAME] for row in rows))
    models = _models(db, {row[MANIFEST_ID] for row in rows})
    related = _Related(models, _candidates(db, [row[ID] for row in rows], urls), urls, call.base_url)
    return [_response(row, related) for row in rows]


def _candidates(db: Connection, service_ids: Sequence[str], urls: ScoringUrls) -> dict[str, CandidateSummary]:
    """Return the candidates of services, by the ids of these services."""
    candidate_of = schema.services.c.candidate_of
    if len(service_ids) > 1 and db.scalar(select(exists().where(candidate_of.is_not(None)))) == 0:
        return {}  # most databases have none, and this takes a quarter of the time of the query for a page
    rows = db.execute(selected().where(one_of(db, candidate_of, service_ids))).all()
    return {
        row.candidate_of: CandidateSummary(
            id=row.id,
            state=row.state,
            scoring_uri=urls.of(row.candidate_of, row.name, row.compute_id, row.port, row.deployment_status),
            expires_at=row.expires_at,
        )
        for row in rows
    }


def _models(db: Connection, manifest_ids: set[str]) -> dict[str, list[Model]]:
    """Return the models of manifests, as their stored JSON."""
    links, models = schema.manifest_models, schema.models
    query = (
        select(links.c.manifest_id, models.c.doc)
        .join(models, models.c.id == links.c.model_id)
        .where(one_of(db, links.c.manifest_id, manifest_ids))
        .order_by(links.c.manifest_id, links.c.position)
    )
    found: dict[str, list[msgspec.Raw]] = {}
    for manifest_id, doc in db.execute(query).all():
        found.setdefault(manifest_id, []).append(msgspec.Raw(doc))
    return cast("dict[str, list[Model]]", found)


def _with_values(variables: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment variables that have a value."""
    return {name: value for name, value in variables.items() if value is not None}


def _response(row: Row[Any], related: _Related) -> Service:
    spec: ServiceCreate
    id_, name, compute_id, compute_given, state, error, port, scale, created, updated, *others = row[SERVICE]
    candidate_of, spec, secrets, manifest_id, warning = others
    image = image_of(row[IMAGE], related.base_url)
    deployment = row[DEPLOYMENT]
    _, _, _, deployment_status, _, _, change = deployment
    return Service(
        compute_resource=ComputeResource(id=compute_given or compute_id, type="Cluster"),
        id=id_,
        name=name,
        state=state,
        created_at=created,
        updated_at=updated,
        scoring_uri=related.urls.of(candidate_of or id_, name, compute_id, port, deployment_status),
        image=image,
        manifest=image.manifest,
        models=related.models.get(manifest_id, []),
        error=error,
        app_insights_enabled=spec.app_insights_enabled,
        auto_scaler=spec.auto_scaler,
        container_resource_reservation=spec.container_resource_reservation,
        data_collection=spec.data_collection,
        max_concurrent_requests_per_container=spec.max_concurrent_requests_per_container,
        num_replicas=replica_count(spec, scale),
        environment=_with_values(spec.environment) if spec.environment else {},
        secrets=sorted(secrets or ()),
        warning=warning,
        # A deployment of an earlier version has no record of its change.
        last_change=None if change is None else deployment_of(deployment),
        candidate=related.candidates.get(id_),
        recording=spec.recording,
    )
