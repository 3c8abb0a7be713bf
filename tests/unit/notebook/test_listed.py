"""A list in a cell: all columns for programs, those that matter for people."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd

from mlmgmt_nb.contract import AsyncOperationStatus, Model, ServiceResponse
from mlmgmt_nb.contract.extensions import AuditEntry
from mlmgmt_nb.notebook.display.listed import ListedFrame

URL = "http://127.0.0.1:20000/api/v1/service/a-name-that-is-long/score"


def services(*, is_wide: bool = False) -> ListedFrame:
    frame = pd.DataFrame(
        {
            "id": ["1", "2"],
            "name": ["<b>", "b"],
            "state": ["Succeeded", "Not serving"],
            "scoring_uri": [URL, None],
            "num_replicas": pd.array([1, None], dtype="Int64"),
            "image_id": ["i", "i"],
            "error": pd.array([None, None], dtype="string"),
            "created_at": pd.to_datetime(["2026-01-02T03:04:05.678Z"] * 2),
        }
    )
    return ListedFrame.of(frame, ServiceResponse, is_wide=is_wide)


def test_a_display_has_what_matters_and_urls_are_not_cut() -> None:
    text, markup = repr(services()), services()._repr_html_()
    assert text.splitlines()[0].split() == ["name", "state", "scoring_uri", "num_replicas", "image_id", "created_at"]
    assert text.splitlines()[-1] == "2 rows, 6 of 8 columns"
    for part in (URL, "2026-01-02 03:04:05 UTC", "2 rows, 6 of 8 columns"):
        assert part in text
        assert part in markup
    assert "&lt;b&gt;" in markup
    assert "<b>" not in markup


def test_long_texts_are_cut_in_the_display_only_as_the_guide_says() -> None:
    text = "long " * 40
    models = ListedFrame.of(pd.DataFrame({"name": [text], "description": [text], "tags": [[text]]}), Model)
    assert models["description"].tolist() == [text]
    assert repr(models).count(f"{text[:79]}…") == 2
    assert text in repr(models), "a name is not cut"
    guide = (Path(__file__).parents[3] / ".docs/guides/notebook.md").read_text()
    assert "descriptions, errors and reasons are cut after 80 characters" in guide


def test_short_values_stay_on_one_line_and_urls_wrap() -> None:
    markup = services()._repr_html_()
    assert f'<td class="mlmgmt-listed-url">{URL}</td>' in markup
    assert '<td class="mlmgmt-listed-short">Not serving</td>' in markup
    assert '<td class="mlmgmt-listed-long">2026-01-02 03:04:05 UTC</td>' in markup
    assert '<th class="mlmgmt-listed-title">num_<wbr>replicas</th>' in markup


def test_columns_without_a_value_are_left_out_and_added_ones_are_there() -> None:
    failed = services()
    failed["scoring_uri"] = None
    failed["last_operation"] = "Succeeded"
    assert "last_operation" not in repr(failed)
    failed.loc[1, "last_operation"] = "Failed"
    assert "last_operation" in repr(failed)
    del failed["last_operation"]
    failed["mine"] = ["x", ""]
    assert repr(failed).splitlines()[0].split() == ["name", "state", "num_replicas", "image_id", "created_at", "mine"]
    empty = ListedFrame.of(pd.DataFrame({"id": [], "state": [], "operation_type": []}), AsyncOperationStatus)
    assert repr(empty).splitlines()[-1] == "0 rows, 3 of 3 columns"
    entries = ListedFrame.of(pd.DataFrame({"b": ["1"], "tags": [["x", "y=1"]], "c": [[]]}), AuditEntry)
    assert repr(entries).splitlines()[-2:] == ["0  1  x, y=1", "1 row, 2 of 3 columns"]


def test_a_wide_list_has_all_columns_that_have_a_value() -> None:
    listed = services(is_wide=True)
    listed["tags"], listed["description"] = [["a", "b"], []], ["long " * 40, None]
    names = ["name", "state", "scoring_uri", "num_replicas", "image_id", "created_at", "id", "tags", "description"]
    assert repr(listed).splitlines()[0].split() == names
    markup = listed._repr_html_()
    assert '<div class="mlmgmt-listed-all">' in markup
    assert '<td class="mlmgmt-listed-short">a, b</td>' in markup
    assert '<td class="mlmgmt-listed-text">long long' in markup
    assert "long " * 39 in markup
    listed["last_change"] = pd.Series([{"change": "create", "reason": None}, None])
    assert '<td class="mlmgmt-listed-short">change=create</td>' in listed._repr_html_()
    assert '<div class="mlmgmt-listed-all">' not in services()._repr_html_()


def test_what_is_made_of_it_is_an_ordinary_frame() -> None:
    listed = services()
    assert listed.columns[0] == "id"
    for made in (listed[["name", "error"]], listed.head(1), listed.copy(), listed.sort_values("name")):
        assert type(made) is pd.DataFrame
    assert pickle.loads(pickle.dumps(listed)).equals(listed)
