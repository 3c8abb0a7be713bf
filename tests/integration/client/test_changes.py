"""Changes of services against the real embedded service: what a change changed or would change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlmgmt_nb.client import Workspace
from mlmgmt_nb.client.changes.difference import Difference
from mlmgmt_nb.errors import NotFoundError, UsageError


def found(difference: Difference) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in difference.changes]


def test_differences_of_a_service(ws: Workspace, echo: Path) -> None:
    first = ws.deploy("compared", model=echo / "model.bin", driver=echo / "score.py", model_name="compared")
    with pytest.raises(UsageError, match="has had one deployment only"):
        ws.services.diff("compared")

    (echo / "model.bin").write_text("two")
    driver = echo / "score.py"
    driver.write_text(driver.read_text() + "\n# changed\n")
    (echo / "words.txt").write_text("hello\n")
    source: Any = {
        "model_name": "compared",
        "model": echo / "model.bin",
        "driver": driver,
        "dependencies": [echo / "words.txt"],
    }
    would = ws.diff("compared", **source, num_replicas=2, environment={"A": "b"})
    expected = [("model", "compared"), ("driver", "score.py"), ("file", "words.txt")]
    assert found(would) == [*expected, ("setting", "environment.A"), ("setting", "num_replicas")]
    assert [model.version for model in ws.models.list(name="compared")] == [1]  # nothing was sent

    second = ws.deploy("compared", **source, num_replicas=2)
    assert found(ws.diff("compared", **source)) == []
    did = ws.services.diff("compared")
    assert found(did) == expected
    by_name = {change.name: change for change in did.changes}
    assert (by_name["compared"].old, by_name["compared"].new) == ("version 1", "version 2")
    assert by_name["compared"].detail.startswith("content: differs")
    assert "+# changed" in by_name["score.py"].detail
    assert (by_name["words.txt"].old, by_name["words.txt"].new) == (None, "6 bytes")
    assert first.image is not None
    assert second.image is not None
    assert found(ws.services.diff(first.image, second.image.id)) == expected
    back = ws.services.diff(second.image.id or "", ws.deployments.list(service="compared").to_frame()["id"][1])
    assert (back.old, back.new) == ("image compared version 2", "image compared version 1")
    with pytest.raises(NotFoundError):
        ws.services.diff("compared", "no-such-service")
    with pytest.raises(NotFoundError):
        ws.diff("no-such-service", driver=driver)
