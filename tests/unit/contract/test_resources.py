"""The resource types: what they accept, what they refuse and which field they name, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlmgmt_nb.contract import resources as r
from mlmgmt_nb.contract.openapi import document

if TYPE_CHECKING:
    from openapi_schema_validator import OAS30Validator

STRUCTS: dict[str, Any] = {
    name: value
    for name, value in vars(r).items()
    if name in r.__all__ and name != "Wire" and isinstance(value, type) and issubclass(value, msgspec.Struct)
}

Values = Callable[[Any], st.SearchStrategy[Any]]

MODEL = {"mimeType": "application/json", "name": "iris", "url": "https://example.org/iris.pkl"}
RUNTIME = {"properties": {}, "runtimeType": "Python"}
MANIFEST = {"assets": [], "driverProgram": "driver", "name": "iris", "targetRuntime": RUNTIME}
IMAGE = {"computeResourceId": "local", "imageType": "Docker", "manifestId": "1", "name": "iris"}
SERVICE = {"computeResource": {}, "imageId": "1", "name": "iris"}


def to_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def decode(name: str, value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=STRUCTS[name])


@cache
def validator(name: str) -> OAS30Validator:
    from openapi_schema_validator import OAS30Validator

    return OAS30Validator({"$ref": f"#/components/schemas/{name}", "components": document()["components"]})


def allowed_by_the_document(name: str, value: Any) -> bool:
    return bool(validator(name).is_valid(value))


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_a_value_comes_back_as_it_went_and_as_the_document_says(name: str, values: Values) -> None:
    @settings(max_examples=30, deadline=None)
    @given(value=values(STRUCTS[name]))
    def check(value: Any) -> None:
        sent = to_json(value)
        assert decode(name, sent) == value
        assert allowed_by_the_document(name, sent)

    check()


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_null_and_left_out_both_mean_not_set(name: str, values: Values) -> None:
    @settings(max_examples=10, deadline=None)
    @given(value=values(STRUCTS[name]))
    def check(value: Any) -> None:
        sent = to_json(value)
        for field in msgspec.structs.fields(STRUCTS[name]):
            left_out = {key: item for key, item in sent.items() if key != field.encode_name}
            as_null = sent | {field.encode_name: None}
            if field.required or field.name in {"value", "next_link"}:
                with pytest.raises(msgspec.ValidationError, match=field.encode_name):
                    decode(name, as_null)
            else:
                assert decode(name, as_null) == decode(name, left_out)
            if field.required:
                with pytest.raises(msgspec.ValidationError, match=field.encode_name):
                    decode(name, left_out)

    check()


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_unknown_properties_are_ignored(name: str, values: Values) -> None:
    @settings(max_examples=5, deadline=None)
    @given(value=values(STRUCTS[name]))
    def check(value: Any) -> None:
        assert decode(name, to_json(value) | {"notOfTheApi": {"any": 1}}) == value

    check()


def test_answers_carry_null_where_nothing_is_set_but_no_next_link_on_the_last_page() -> None:
    assert to_json(r.ComputeResource()) == {"id": None, "type": None}
    assert to_json(r.PaginatedModelList()) == {"value": []}


REFUSED: dict[str, list[tuple[dict[str, Any], str]]] = {
    "ImageRequest": [
        *[({**IMAGE, "name": name}, "$.name") for name in ("ab", "a" * 33, "has space", "Iris", "-ab", "ab-", "a_b")],
        *[({**IMAGE, "name": name}, "$.name") for name in ("iris\n", "\niris", "ìris", "a\x00b", "", 7)],
        ({**IMAGE, "manifestId": ""}, "$.manifestId"),
        ({**IMAGE, "computeResourceId": ""}, "$.computeResourceId"),
        ({**IMAGE, "imageType": "docker"}, "$.imageType"),
    ],
    "ServiceCreateRequest": [
        ({**SERVICE, "name": "iris\n"}, "$.name"),
        ({**SERVICE, "imageId": ""}, "$.imageId"),
        ({**SERVICE, "computeResource": {"type": "cluster"}}, "$.computeResource.type"),
        ({**SERVICE, "numReplicas": -1}, "$.numReplicas"),
        ({**SERVICE, "numReplicas": 1.5}, "$.numReplicas"),
        ({**SERVICE, "numReplicas": "1"}, "$.numReplicas"),
        ({**SERVICE, "numReplicas": True}, "$.numReplicas"),
        ({**SERVICE, "maxConcurrentRequestsPerContainer": 0}, "$.maxConcurrentRequestsPerContainer"),
        ({**SERVICE, "autoScaler": {"targetUtilization": 101}}, "$.autoScaler.targetUtilization"),
        ({**SERVICE, "autoScaler": {"targetUtilization": -1}}, "$.autoScaler.targetUtilization"),
        ({**SERVICE, "autoScaler": {"minReplicas": -1}}, "$.autoScaler.minReplicas"),
        ({**SERVICE, "autoScaler": {"maxReplicas": 0}}, "$.autoScaler.maxReplicas"),
        ({**SERVICE, "autoScaler": {"refreshPeriodInSeconds": 0}}, "$.autoScaler.refreshPeriodInSeconds"),
        ({**SERVICE, "autoScaler": {"autoscaleEnabled": True}, "numReplicas": 1}, "numReplicas"),
        *[
            ({**SERVICE, "containerResourceReservation": {"cpu": cpu}}, "$.containerResourceReservation.cpu")
            for cpu in ("", "m", "0.5m", "1.2345", "-1", "1\n", "1 ", "1e3", ".5", "\u0661")
        ],
        *[
            ({**SERVICE, "containerResourceReservation": {"memory": memory}}, "$.containerResourceReservation.memory")
            for memory in ("", "Mi", "1mi", "1K", "-1G", "1G\n", "1 G", "1GB", "1.G")
        ],
    ],
    "ServiceUpdateRequest": [
        ({"autoScaler": {"autoscaleEnabled": True}, "numReplicas": 0}, "numReplicas"),
        ({"numReplicas": -1}, "$.numReplicas"),
    ],
    "ServiceRegenerateKeyRequest": [({"keyType": "primary"}, "$.keyType")],
    "Model": [
        ({**MODEL, "name": 1}, "$.name"),
        ({**MODEL, "tags": "prod"}, "$.tags"),
        ({**MODEL, "tags": ["prod", 1]}, "$.tags[1]"),
        ({**MODEL, "unpack": "yes"}, "$.unpack"),
    ],
    "Manifest": [
        ({**MANIFEST, "assets": [{}, {"unpack": 1}]}, "$.assets[1].unpack"),
        ({**MANIFEST, "targetRuntime": {**RUNTIME, "runtimeType": "R"}}, "$.targetRuntime.runtimeType"),
        (
            {**MANIFEST, "targetRuntime": {**RUNTIME, "properties": {"pipRequirements": 1}}},
            "$.targetRuntime.properties",
        ),
        ({**MANIFEST, "modelType": "registered"}, "$.modelType"),
        ({**MANIFEST, "webserviceType": "Batch"}, "$.webserviceType"),
    ],
}


@pytest.mark.parametrize(("name", "value", "where"), [(n, v, w) for n, cases in REFUSED.items() for v, w in cases])
def test_what_breaks_a_limit_is_refused_and_the_error_names_the_field(name: str, value: Any, where: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        decode(name, value)
    assert where in str(refused.value)
    # Python's `$`, which the validator uses, lets a line break at the end pass; the API's does not.
    if not any(str(text).endswith("\n") for text in _texts(value)):
        assert not allowed_by_the_document(name, value)


def _texts(value: Any) -> list[Any]:
    return [text for item in value.values() for text in (_texts(item) if isinstance(item, dict) else [item])]


ACCEPTED: dict[str, list[dict[str, Any]]] = {
    "ImageRequest": [{**IMAGE, "name": name} for name in ("abc", "a" * 32, "a.b", "a-b", "0.1", "a..b")],
    "ServiceCreateRequest": [
        {**SERVICE, "numReplicas": 0},
        {**SERVICE, "numReplicas": 2, "autoScaler": {}},
        {**SERVICE, "numReplicas": 2, "autoScaler": {"autoscaleEnabled": False}},
        {**SERVICE, "numReplicas": None, "autoScaler": {"autoscaleEnabled": True}},
        {**SERVICE, "autoScaler": {}, "containerResourceReservation": {}},
        {**SERVICE, "autoScaler": {"targetUtilization": 0, "minReplicas": 5, "maxReplicas": 1}},
        *[{**SERVICE, "containerResourceReservation": {"cpu": cpu}} for cpu in ("1", "0.1", "500m", "2.125")],
        *[{**SERVICE, "containerResourceReservation": {"memory": m}} for m in ("128", "1G", "300Mi", "1.5Gi", "64k")],
    ],
    "ServiceUpdateRequest": [{}, {"imageId": ""}],
    "ServiceRegenerateKeyRequest": [{}, {"keyType": None}, {"keyType": "Secondary"}],
    "Model": [{**MODEL, "name": ""}, {**MODEL, "description": None, "id": "x", "version": 7}],
    "ServiceResponse": [{"computeResource": {}, "autoScaler": {"autoscaleEnabled": True}, "numReplicas": 3}],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, cases in ACCEPTED.items() for v in cases])
def test_what_keeps_the_limits_is_accepted(name: str, value: Any) -> None:
    assert allowed_by_the_document(name, value)
    decode(name, value)


@settings(max_examples=200, deadline=None)
@given(name=st.text(alphabet="abz019.-_A \n", max_size=34))
def test_names_are_what_the_rule_says(name: str) -> None:
    ends = "abcdefghijklmnopqrstuvwxyz0123456789"
    fits = 3 <= len(name) <= 32 and name[0] in ends and name[-1] in ends and set(name) <= {*ends, ".", "-"}
    with nullcontext() if fits else pytest.raises(msgspec.ValidationError, match=r"\$\.name"):
        decode("ServiceCreateRequest", {**SERVICE, "name": name})


def test_what_an_answer_gave_can_be_sent_back() -> None:
    """Read-only properties in a request are no error."""
    answer = {**MODEL, "id": "7", "version": 3, "createdAt": "2026-01-02T03:04:05Z", "tags": [], "unpack": False}
    assert to_json(decode("Model", answer)) == answer | {"description": None}


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "2026-01-02T03:04:05.123+00:00"])
def test_times_with_and_without_a_zone_are_read(text: str) -> None:
    assert decode("Model", {**MODEL, "createdAt": text}).created_at.replace(tzinfo=None, microsecond=0).hour == 3


def test_keys_are_not_shown() -> None:
    keys = r.AuthKeys(primary_key="first-secret", secondary_key="second-secret")
    shown = [repr(keys), str(keys), f"{keys}", repr([keys]), str(list(keys.__rich_repr__()))]
    assert all("secret" not in text for text in shown)
    assert to_json(keys) == {"primaryKey": "first-secret", "secondaryKey": "second-secret"}


def test_values_cannot_be_changed() -> None:
    model = decode("Model", MODEL)
    with pytest.raises(AttributeError):
        model.name = "other"
