"""What is shown and logged has no secrets in it."""

from __future__ import annotations

import pytest

from mlmgmt_nb.redaction import redact_chain, redacted

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"authorization: Bearer {TOKEN}", "authorization: Bearer ***"),
        ("Authorization: bearer abc.def", "Authorization: bearer ***"),
        (f"the token {TOKEN} is old", "the token *** is old"),
        ("https://a.example/m.pkl?sv=1&sig=abc%2F", "https://a.example/m.pkl?sv=1&sig=***"),
        ("postgresql://ml:s3cret@db/ml", "postgresql://***@db/ml"),
        ("https://a-token@feed.example/simple", "https://***@feed.example/simple"),
        ("git+ssh://git@git.example/a.git", "git+ssh://git@git.example/a.git"),
        ("AccountName=x;AccountKey=abc==;End", "AccountName=x;AccountKey=***;End"),
        ('{"client_secret": "abc", "x": 1}', '{"client_secret": "***", "x": 1}'),
        ("client_secret=abc&scope=x", "client_secret=***&scope=x"),
        ("http://127.0.0.1:8080/api?code=OK", "http://127.0.0.1:8080/api?code=***"),
        ("http://127.0.0.1:8080/api/iris@1", "http://127.0.0.1:8080/api/iris@1"),
        ("a token is missing; the key is wrong", "a token is missing; the key is wrong"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_errors_and_what_they_came_from() -> None:
    first = OSError("GET https://a.example/?sig=abc failed")
    error = ValueError(first, "Bearer abc")
    error.__cause__ = RuntimeError("AccountKey=abc")
    error.__cause__.__context__ = error
    redact_chain(error)
    assert "abc" not in f"{first} {error} {error.__cause__}"
