"""The generated OpenAPI document: valid, unchanged unless meant, and saying what the reference document says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlmgmt_nb.contract import OPERATIONS
from mlmgmt_nb.contract.changes import CHANGE_OPERATIONS
from mlmgmt_nb.contract.openapi import document

SNAPSHOT = Path(__file__).with_name("openapi.json")
REFERENCE = Path(__file__).with_name("reference.yaml")
WORDS_FOR_PEOPLE = {"description", "summary", "example"}


def of_2017() -> dict[str, Any]:
    """Return the document without the extensions, which the reference does not have."""
    return document(extensions=False)


def test_the_extensions_have_a_tag_of_their_own() -> None:
    paths = document()["paths"]
    assert {path: of for path, of in paths.items() if path in of_2017()["paths"]} == of_2017()["paths"]
    added = [operation for path in paths.keys() - of_2017()["paths"].keys() for operation in paths[path].values()]
    assert {tag for operation in added if isinstance(operation, dict) for tag in operation["tags"]} == {"Changes"}


def test_the_document_is_valid() -> None:
    from openapi_spec_validator import OpenAPIV30SpecValidator

    OpenAPIV30SpecValidator(document()).validate()


def test_the_document_is_the_one_on_file() -> None:
    """A change of the API has to show up in the diff of a commit."""
    assert json.loads(json.dumps(document())) == json.loads(SNAPSHOT.read_text()), (
        f"if the change is meant: python -m mlmgmt_nb.contract.openapi > {SNAPSHOT.name}"
    )


def test_the_server_is_the_one_asked_for() -> None:
    made = document("http://127.0.0.1:8080")
    assert made["servers"] == [{"url": "http://127.0.0.1:8080"}]
    assert made["paths"] == document()["paths"]


def test_every_operation_of_the_table_is_described_once() -> None:
    described = [
        operation["operationId"]
        for item in document()["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert sorted(described) == sorted([*OPERATIONS, *CHANGE_OPERATIONS])
    assert len(of_2017()["paths"]) == 13


def test_everything_has_a_description() -> None:
    components = document()["components"]
    for name, schema in components["schemas"].items():
        assert schema["description"], name
        for property_name, value in schema.get("properties", {}).items():
            assert value.get("description") or "$ref" in value, f"{name}.{property_name}"
    assert all(parameter["description"] for parameter in components["parameters"].values())


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    loaded = yaml.safe_load(REFERENCE.read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("path", sorted(of_2017()["paths"]))
def test_a_path_says_the_same_as_the_reference(reference: dict[str, Any], path: str) -> None:
    ours, theirs = (_path(made, path) for made in (of_2017(), reference))
    assert ours.keys() == theirs.keys()
    for method in ours:
        assert ours[method] == theirs[method], method


@pytest.mark.parametrize("name", sorted(of_2017()["components"]["schemas"]))
def test_a_schema_says_the_same_as_the_reference(reference: dict[str, Any], name: str) -> None:
    ours, theirs = (_facts(made["components"]["schemas"][name], made) for made in (of_2017(), reference))
    assert ours == theirs


def test_there_is_nothing_else_in_the_reference(reference: dict[str, Any]) -> None:
    ours = of_2017()
    assert ours["openapi"] == reference["openapi"]
    assert ours["info"]["version"] == reference["info"]["version"]
    assert ours["security"] == reference["security"]
    assert [tag["name"] for tag in ours["tags"]] == [tag["name"] for tag in reference["tags"]]
    assert set(ours["paths"]) == set(reference["paths"])
    assert set(ours["components"]) == set(reference["components"])
    for kind in ("schemas", "headers", "responses", "securitySchemes"):  # parameters are compared where they are used
        named = reference["components"][kind]
        assert set(ours["components"][kind]) == set(named), kind
        for name, component in named.items():
            assert _facts(ours["components"][kind][name], ours) == _facts(component, reference), f"{kind} {name}"


def _path(made: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the operations of a path by method, each with all its parameters by place and name."""
    item = dict(made["paths"][path])
    shared = item.pop("parameters")
    operations = {}
    for method, operation in item.items():
        parameters = _facts([*shared, *operation.get("parameters", [])], made)
        operations[method] = _facts(operation, made) | {
            "parameters": {(parameter["in"], parameter["name"]): parameter for parameter in parameters}
        }
        assert len(operations[method]["parameters"]) == len(parameters)
    return operations


def _facts(node: Any, made: dict[str, Any]) -> Any:
    """`node` without what is written for people, its references put in and its sets in order."""
    if isinstance(node, list):
        return [_facts(value, made) for value in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _facts(_referred(node["$ref"], made), made)
    return {word: _fact(word, value, made) for word, value in node.items() if word not in WORDS_FOR_PEOPLE}


def _fact(word: str, value: Any, made: dict[str, Any]) -> Any:
    if word == "properties":  # of which one can be called `description`
        return {name: _facts(schema, made) for name, schema in value.items()}
    if word in {"enum", "required"} and isinstance(value, list):
        return sorted(value, key=str)
    return _facts(value, made)


def _referred(reference: str, made: dict[str, Any]) -> Any:
    found: Any = made
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_comparison_sees_differences() -> None:
    """What the tests above rest on: a changed limit, requirement or reference is a changed fact."""
    ours = document()
    changed = json.loads(json.dumps(ours))
    schemas = changed["components"]["schemas"]
    schemas["AutoScaler"]["properties"]["targetUtilization"]["maximum"] = 99
    schemas["Model"]["properties"]["description"]["nullable"] = False
    schemas["Manifest"]["required"].remove("assets")
    for name in ("AutoScaler", "ServiceCreateRequest", "Model", "PaginatedModelList", "Manifest", "Image"):
        assert _facts(schemas[name], changed) != _facts(ours["components"]["schemas"][name], ours), name
