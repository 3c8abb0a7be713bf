"""Keys that are made for services."""

from __future__ import annotations

import secrets

import pytest

from mlmgmt_nb.service.api.resources.services.keys import new_key


def test_a_key_does_not_begin_with_a_hyphen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter(["-like-a-flag", "--", "like-a-key"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: next(made))
    assert new_key() == "like-a-key"
