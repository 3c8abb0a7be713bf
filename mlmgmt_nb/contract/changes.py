"""Candidates of services: an extension of the embedded service that tries a deployment beside the current one.

`CHANGE_OPERATIONS` is the table of its operations. The OpenAPI document lists them under a separate tag. They are not
part of the 20 operations of the API of 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from msgspec import Meta

from mlmgmt_nb.contract.extensions import Service, ServiceUpdate
from mlmgmt_nb.contract.limits import Offset
from mlmgmt_nb.contract.operations import Answer, Operation, Parameter
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.contract.resources import ErrorResponse, UtcTime
from mlmgmt_nb.contract.traffic import Canary, CanaryRequest, Mirror, MirroredPairs, MirrorRequest

__all__ = ["CANDIDATES", "CANDIDATE_ID", "CHANGE_OPERATIONS", "CHANGE_TAG", "MOST_WARM_MINUTES", "Candidate"]

CANDIDATES = "candidates"
"""Name of the extension, in the list that `GET .../extensions` returns."""

CHANGE_TAG = "Changes"

CANDIDATE_ID = "candidateId"
"""Name of the parameter with the id of a candidate."""

MOST_WARM_MINUTES = 1440
"""Maximum minutes to keep the replicas that a promotion replaces."""


class Candidate(Service, frozen=True, kw_only=True):
    """A proposed deployment of a service, which runs beside the current one. Its settings are those after promotion.

    Attributes:
        service_id: the service.
        proposed_by: name of the caller.
        reason: the reason that the caller gave.
        expires_at: time of its removal unless it is promoted first.
        canary: its share of the requests, and the result so far.
        mirror: the copies of requests that it receives, and their number so far.
    """

    service_id: Annotated[str | None, Meta(description="Id of the service.")] = None
    proposed_by: Annotated[str | None, Meta(description="Name of the caller who proposed it.")] = None
    reason: Annotated[str | None, Meta(description="Reason that the caller gave.")] = None
    expires_at: Annotated[UtcTime | None, Meta(description="Time of its removal, unless it is promoted before.")] = None
    canary: Annotated[Canary | None, Meta(description="Its share of the requests, and the result so far.")] = None
    mirror: Annotated[Mirror | None, Meta(description="Its copies of requests, and their number.")] = None


resolve(Candidate)

_NO_CANDIDATE = "The service does not exist or has no candidate, or another one replaced the named candidate."
_NOT_FOUND = Answer(_NO_CANDIDATE, ErrorResponse)
_NO_SERVICE = Answer("The service or the image does not exist.", ErrorResponse)
_CONFLICT = Answer("Another operation is running, or the image or the compute does not permit it.", ErrorResponse)


_THIS_CANDIDATE = Parameter(CANDIDATE_ID, "Id of the candidate: the request is refused if another one replaced it.")


def _accepted(what: str, missing: Answer) -> Mapping[int, Answer]:
    description = f"Accepted; poll the operation for the state of {what}."
    return {202: Answer(description, headers=("Operation-Location",)), 404: missing, 409: _CONFLICT}


_TABLE = (
    Operation(
        id="candidate_propose",
        tag=CHANGE_TAG,
        method="PUT",
        path="/services/{id}/candidate",
        summary="Propose a change of a service",
        description=(
            "Runs the service with these changes beside the current deployment: in its own replicas, under the same "
            "keys and at its own URL. Replaces the candidate that the service has, if any."
        ),
        body=ServiceUpdate,
        body_name="serviceUpdate",
        body_description="The changes.",
        answers=_accepted("the candidate", _NO_SERVICE),
    ),
    Operation(
        id="candidate_get",
        tag=CHANGE_TAG,
        method="GET",
        path="/services/{id}/candidate",
        summary="Get the candidate of a service",
        query=(_THIS_CANDIDATE,),
        answers={200: Answer("The candidate.", Candidate), 404: _NOT_FOUND},
    ),
    Operation(
        id="candidate_discard",
        tag=CHANGE_TAG,
        method="DELETE",
        path="/services/{id}/candidate",
        summary="Discard the candidate of a service",
        query=(_THIS_CANDIDATE,),
        answers={200: Answer("Discarded."), 204: Answer(_NO_CANDIDATE)},
    ),
    Operation(
        id="candidate_canary",
        tag=CHANGE_TAG,
        method="PUT",
        path="/services/{id}/candidate/canary",
        summary="Give the candidate a share of the requests",
        description=(
            "Exactly this share of the requests, not of the connections. Steps follow each other when their time is "
            "over and the traffic shows that the candidate is good enough; if it is worse, it gets no further requests."
        ),
        body=CanaryRequest,
        body_name="canaryRequest",
        body_description="The steps and the conditions.",
        query=(_THIS_CANDIDATE,),
        answers={200: Answer("The candidate.", Candidate), 404: _NOT_FOUND, 409: _CONFLICT},
    ),
    Operation(
        id="candidate_stop_canary",
        tag=CHANGE_TAG,
        method="DELETE",
        path="/services/{id}/candidate/canary",
        summary="Stop the canary of a service",
        description="The candidate stays and gets no further requests.",
        query=(_THIS_CANDIDATE,),
        answers={200: Answer("The candidate.", Candidate), 404: _NOT_FOUND},
    ),
    Operation(
        id="candidate_mirror",
        tag=CHANGE_TAG,
        method="PUT",
        path="/services/{id}/candidate/mirror",
        summary="Give the candidate copies of the requests",
        description=(
            "After a caller has been answered, the candidate gets the same request, with the header "
            "`x-mlmgmt-copy: mirror`. Both answers are kept until the candidate is removed. A busy candidate gets "
            "fewer copies."
        ),
        body=MirrorRequest,
        body_name="mirrorRequest",
        body_description="The share of the requests, and when it ends.",
        query=(_THIS_CANDIDATE,),
        answers={200: Answer("The candidate.", Candidate), 404: _NOT_FOUND, 409: _CONFLICT},
    ),
    Operation(
        id="candidate_stop_mirror",
        tag=CHANGE_TAG,
        method="DELETE",
        path="/services/{id}/candidate/mirror",
        summary="Stop the mirror of a service",
        description="The candidate stays and gets no further copies; the pairs of answers stay too.",
        query=(_THIS_CANDIDATE,),
        answers={200: Answer("The candidate.", Candidate), 404: _NOT_FOUND},
    ),
    Operation(
        id="candidate_mirrored",
        tag=CHANGE_TAG,
        method="GET",
        path="/services/{id}/candidate/mirror/pairs",
        summary="Get the pairs of answers of a mirror",
        description="In the order of the requests, as many as fit into a response; bodies are in Base64.",
        query=(Parameter("skip", "Number of pairs to leave out at the beginning.", Offset),),
        answers={200: Answer("The pairs.", MirroredPairs), 404: _NOT_FOUND},
    ),
    Operation(
        id="candidate_promote",
        tag=CHANGE_TAG,
        method="POST",
        path="/services/{id}/candidate/promote",
        summary="Promote the candidate of a service",
        description=(
            "Makes it the deployment that serves, under the URL and the keys of the service. Its replicas are handed "
            "over as they are if their image permits it; no request is refused meanwhile."
        ),
        query=(
            Parameter("reason", "Reason of the change, for its record."),
            Parameter("evidence", "Evidence for the record of the change, such as the path of a report."),
            Parameter("keepWarm", "Minutes to keep the replicas that it replaces, for a rollback at once."),
            _THIS_CANDIDATE,
        ),
        answers=_accepted("the promotion", _NOT_FOUND),
    ),
)

CHANGE_OPERATIONS: Mapping[str, Operation] = MappingProxyType({operation.id: operation for operation in _TABLE})
"""The operations of candidates, by id."""
