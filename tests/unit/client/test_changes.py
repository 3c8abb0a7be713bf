"""The differences between contents: data, text and HTML, and consequences of schemas in sentences."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from mlmgmt_nb.client.changes.contents import Contents, changed_settings
from mlmgmt_nb.client.changes.difference import Difference, compare
from mlmgmt_nb.client.changes.requested import unmet
from mlmgmt_nb.client.changes.schema import consequences
from mlmgmt_nb.contract import Model
from mlmgmt_nb.contract.contents import ContentFile

INTEGER, NUMBER, TEXT = {"type": "integer"}, {"type": "number"}, {"type": "string"}
ANY: dict[str, str] = {}
PLAN, FEWER = {"type": "string", "enum": ["A", "B"]}, {"type": "string", "enum": ["A"]}


def table(**columns: Any) -> Any:
    return {"rows": {"type": "array", "items": {"type": "object", "properties": columns}}}


def lists(depth: int, of: Any) -> Any:
    return of if depth == 0 else {"type": "array", "items": lists(depth - 1, of)}


@pytest.mark.parametrize(
    ("old", "new", "sentence", "breaks"),
    [
        (NUMBER, TEXT, "Callers who send `age` as a number will be refused.", True),
        (NUMBER, INTEGER, "Callers who send `age` as a number with a fraction will be refused.", True),
        (INTEGER, NUMBER, "Callers may also send `age` as a number; what they send today is still accepted.", False),
        (TEXT, ANY, "Callers may also send `age` as any value; what they send today is still accepted.", False),
        (ANY, TEXT, "Callers who send `age` as anything but a string will be refused.", True),
        (PLAN, FEWER, 'Callers who send `age` as "B" will be refused.', True),
        (
            FEWER,
            PLAN,
            'Callers may also send `age` as one of "A", "B"; what they send today is still accepted.',
            False,
        ),
        (TEXT, PLAN, 'Callers who send `age` as another value than one of "A", "B" will be refused.', True),
        (NUMBER, lists(1, NUMBER), "Callers who send `age` as a number will be refused.", True),
        (lists(2, NUMBER), lists(1, NUMBER), "Callers who send `age` as list of a list of a number will be", True),
        (
            {**TEXT, "format": "date-time"},
            {**TEXT, "format": "date"},
            "Callers who send `age` as a date and time will be refused.",
            True,
        ),
        (
            {**NUMBER, "format": "double"},
            {**NUMBER, "format": "float"},
            "What callers send as `age` today is still accepted.",
            False,
        ),
        (None, TEXT, "Callers who do not send `age` will be refused.", True),
        (TEXT, None, "Callers who still send `age` will be refused.", True),
    ],
)
def test_the_consequence_of_a_changed_column(old: Any, new: Any, sentence: str, breaks: bool) -> None:
    before, after = (
        {"input": table(other=TEXT, **({} if age is None else {"age": age})), "output": {}} for age in (old, new)
    )
    (found,) = consequences(before, after)
    assert (found.path, found.breaks) == ("rows.age", breaks)
    assert found.sentence.startswith(sentence)


def test_a_changed_result_and_a_new_argument() -> None:
    before = {"input": {"age": NUMBER}, "output": {"score": NUMBER}}
    after = {"input": {"age": NUMBER, "plan": TEXT}, "output": {"score": TEXT}}
    assert [(one.path, one.sentence, one.breaks) for one in consequences(before, after)] == [
        ("plan", "Callers who do not send `plan` will be refused, unless run() has a default for it.", True),
        ("result score", "Callers get `score` as a string instead of a number.", True),
    ]
    assert not list(consequences(before, before))


def file(path: str, text: str | None, content: bytes = b"") -> ContentFile:
    data = content if text is None else text.encode()
    return ContentFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), text=text)


def schema_file(**arguments: Any) -> ContentFile:
    entries = {name: {"type": 0, "internal": "gASV", "swagger": swagger} for name, swagger in arguments.items()}
    return file("schema.json", json.dumps({"input": entries}))


def model(version: int | None, content: str, **more: Any) -> Model:
    url = f"http://127.0.0.1:{8000 + (version or 0)}/artifacts/sha256/{content}/m.pkl"
    return Model(id=f"id-{version}", name="churn", version=version, url=url, mime_type="text/plain", **more)


OLD = Contents(
    name="image churn version 1",
    models=[model(1, "aa", tags=["team=a", "auc=0.8"])],
    driver="score.py",
    schema="schema.json",
    files={
        one.path: one
        for one in (file("score.py", "a\nb\n"), file("data.bin", None, b"\0"), schema_file(age=NUMBER), file("x", "x"))
    },
    packages={"numpy": "1.0", "left": "2"},
    python="3.11.4",
    settings={"num_replicas": 1, "environment.MODE": "<fast>"},
)
NEW = Contents(
    name="image churn version 2",
    models=[model(2, "bb", tags=["team=a", "auc=0.9"])],
    driver="score.py",
    schema="schema.json",
    files={
        one.path: one
        for one in (file("score.py", "a\nc\n"), file("data.bin", None, b"\1"), schema_file(age=TEXT), file("x", "x"))
    },
    packages={"numpy": "2.0", "joined": "3"},
    python="3.12.1",
    settings={"num_replicas": 2, "secrets.TOKEN": "***"},
)


def test_everything_that_differs_is_found() -> None:
    difference = compare(OLD, NEW)
    assert [(change.kind, str(change)) for change in difference.changes] == [
        ("schema", "age: a number -> a string"),
        ("model", "churn: version 1 -> version 2"),
        ("driver", "score.py: 4 bytes -> 4 bytes"),
        ("file", "data.bin: 1 bytes -> 1 bytes"),
        ("python", "Python: 3.11.4 -> 3.12.1"),
        ("package", "joined: none -> 3"),
        ("package", "left: 2 -> none"),
        ("package", "numpy: 1.0 -> 2.0"),
        ("setting", "environment.MODE: <fast> -> none"),
        ("setting", "num_replicas: 1 -> 2"),
        ("setting", "secrets.TOKEN: none -> ***"),
    ]
    by_name = {change.name: change for change in difference.changes}
    assert by_name["churn"].detail == "content: differs\ntags: auc=0.8 -> auc=0.9"
    assert "-b\n+c" in by_name["score.py"].detail
    assert by_name["data.bin"].detail == ""
    assert difference.breaking == ["Callers who send `age` as a number will be refused."]


def test_it_is_shown_as_text_html_and_data() -> None:
    difference = compare(OLD, NEW)
    text = str(difference)
    assert text.splitlines()[:3] == [
        "image churn version 1 -> image churn version 2",
        "schema age: a number -> a string",
        "    Callers who send `age` as a number will be refused.",
    ]
    markup = difference.to_html()
    assert "&lt;fast&gt;" in markup
    assert "<fast>" not in markup
    assert "breaks callers" in markup
    assert "1 added, 1 removed" in markup
    assert json.loads(json.dumps(difference.to_dict()))["changes"][0]["breaks"] is True
    assert list(difference.to_frame()["kind"])[:2] == ["schema", "model"]


def test_the_same_contents_have_no_difference() -> None:
    difference: Difference = compare(OLD, OLD)
    assert not difference
    assert str(difference).splitlines() == ["image churn version 1 -> image churn version 1", "no differences"]
    assert "no differences" in difference.to_html()


def test_requirements_that_are_not_resolved_are_compared_with_the_lock() -> None:
    locked = {"numpy": "1.26.4", "scikit-learn": "1.5"}
    lines = [
        "numpy>=1.20",
        "scikit_learn==1.6 --hash=sha256:00",
        "xgboost",
        "--pre",
        "./packages/1/a.whl",
        "old; python_version < '3'",
        "tool @ https://example.org/tool.whl",
    ]
    assert list(unmet(locked, lines)) == [
        ("scikit_learn", "1.5", "==1.6"),
        ("xgboost", None, "any version"),
        ("tool", None, "https://example.org/tool.whl"),
    ]


def test_a_package_that_a_notebook_did_not_record_is_unknown() -> None:
    new = Contents(name="new source", requested=["numpy==2.0", "wcwidth==0.9"])
    recorded = Contents(name="image", packages={"numpy": "1.0"}, lists_all_packages=False)
    assert [str(change) for change in compare(recorded, new).changes] == ["numpy: 1.0 -> ==2.0"]


def test_settings_after_an_update() -> None:
    before = {"num_replicas": 1, "environment.A": "1", "environment.B": "2", "secrets.S": "***"}
    after = changed_settings(
        before, {"num_replicas": 3, "memory": "1G", "environment": {"A": None, "C": "3"}, "secrets": {"S": None}}
    )
    assert after == {
        "num_replicas": 3,
        "container_resource_reservation.memory": "1G",
        "environment.B": "2",
        "environment.C": "3",
    }


def test_what_neither_side_knows_is_said_once() -> None:
    image = Contents(name="image", notes=["The packages of image are not known."])
    assert compare(image, image).notes == ["The packages of image are not known."]
