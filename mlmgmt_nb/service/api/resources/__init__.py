"""The handlers of the API: one module for each resource, one function for each operation of the contract."""

from __future__ import annotations

from collections.abc import Mapping

from mlmgmt_nb.service.api.app import Handler
from mlmgmt_nb.service.api.resources import (
    archiving,
    artifacts,
    audit,
    collected,
    computes,
    deployments,
    description,
    exports,
    images,
    manifests,
    models,
    operations,
    withdrawals,
)
from mlmgmt_nb.service.api.resources.services import candidates, keys, monitoring, queries, recordings, requests

__all__ = ["EXTENSIONS", "HANDLERS"]

HANDLERS: Mapping[str, Handler] = {
    "models_register": models.register,
    "models_list": models.list_,
    "models_get": models.get,
    "manifests_register": manifests.register,
    "manifests_list": manifests.list_,
    "manifests_get": manifests.get,
    "images_create": images.create,
    "images_list": images.list_,
    "images_get": images.get,
    "services_create": requests.create,
    "services_list": queries.list_,
    "services_get": queries.get,
    "services_update": requests.update_,
    "services_delete": requests.delete_,
    "services_get_keys": keys.get_keys,
    "services_regenerate_keys": keys.regenerate_keys,
    "services_regenerate_keys_alias": keys.regenerate_keys,
    "deployments_list": deployments.list_,
    "deployments_get": deployments.get,
    "operations_get": operations.get,
    "candidate_propose": candidates.propose,
    "candidate_get": candidates.get,
    "candidate_discard": candidates.discard,
    "candidate_canary": candidates.start_canary,
    "candidate_stop_canary": candidates.stop_canary,
    "candidate_mirror": candidates.start_mirror,
    "candidate_stop_mirror": candidates.stop_mirror,
    "candidate_mirrored": candidates.mirrored,
    "candidate_promote": candidates.promote,
}
"""Handlers by operation of the contract, and of its extension for changes."""

EXTENSIONS: Mapping[tuple[str, ...], Mapping[str, Handler]] = {
    ("swagger.json",): {"GET": description.swagger},
    ("extensions",): {"GET": description.extensions},
    ("computes",): {"GET": computes.list_},
    ("computes", "{id}"): {"PUT": computes.alias, "DELETE": computes.remove_alias},
    ("computes", "{id}", "prepare"): {"POST": computes.prepare},
    ("models", "{id}", "archive"): {"POST": archiving.archive_model},
    ("models", "{id}", "unarchive"): {"POST": archiving.unarchive_model},
    ("manifests", "{id}", "archive"): {"POST": archiving.archive_manifest},
    ("manifests", "{id}", "unarchive"): {"POST": archiving.unarchive_manifest},
    ("images", "{id}", "archive"): {"POST": archiving.archive_image},
    ("images", "{id}", "unarchive"): {"POST": archiving.unarchive_image},
    ("models", "{id}", "withdraw"): {"POST": withdrawals.model},
    ("manifests", "{id}", "withdraw"): {"POST": withdrawals.manifest},
    ("images", "{id}", "withdraw"): {"POST": withdrawals.image},
    ("images", "{id}", "buildLog"): {"GET": images.build_log},
    ("images", "{id}", "docker"): {"GET": exports.built},
    ("images", "{id}", "contents"): {"GET": exports.contents},
    ("images", "{id}", "context"): {"GET": exports.context},
    ("images", "{id}", "oci"): {"GET": exports.oci},
    ("operations",): {"GET": operations.list_},
    ("operations", "{id}", "cancel"): {"POST": operations.cancel},
    ("services", "{id}", "rollback"): {"POST": requests.rollback},
    ("operations", "{id}", "withdraw"): {"POST": withdrawals.on_failure},
    ("services", "{id}", "logs"): {"GET": monitoring.logs},
    ("services", "{id}", "metrics"): {"GET": monitoring.metrics},
    ("services", "{id}", "data"): {"GET": collected.read},
    ("services", "{id}", "requests"): {"GET": recordings.read, "DELETE": recordings.remove},
    ("audit",): {"GET": audit.list_},
    ("whoami",): {"GET": audit.whoami},
    ("artifacts", "*"): {"GET": artifacts.download, "HEAD": artifacts.head, "PATCH": artifacts.append},
}
"""Extensions that the API page does not have: the API description, logs, metrics, the list and cancellation of
operations, archives and withdrawals of versions, computes, image exports, collected data, recorded requests, the audit
log, the identity of the caller, and the artifact store.
"""
