"""Collected data of a service: what its drivers noted with `ModelDataCollector`, as the CSV files that it is in.

An extension of ours: `services/ID/data` lists the files, and `services/ID/data?path=PATH` is one of them.
"""

from __future__ import annotations

from pathlib import Path

from mlmgmt_nb.service import schema
from mlmgmt_nb.service.app import Call
from mlmgmt_nb.service.http import Reply
from mlmgmt_nb.service.problems import Problem
from mlmgmt_nb.service.resources.lookup import row_of

__all__ = ["read"]


def read(call: Call) -> Reply:
    with call.backend.store.reading() as db:
        service = row_of(db, call, schema.services)
    # Where the runtime's collector puts it: the account, then the service.
    folder = call.backend.home.data / "modeldata" / call.account / service.name
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.csv"))}
    wanted = call.query.get("path")
    if wanted is None:
        return Reply(200, {"value": [_described(name, path) for name, path in files.items()]})
    # Only what was listed can be read, so no path leads out of the folder.
    if wanted not in files:
        raise Problem(404, "DataNotFound", f"This service has collected no {wanted!r}.")
    return Reply(200, files[wanted].read_bytes(), media_type="text/csv; charset=utf-8")


def _described(name: str, path: Path) -> dict[str, object]:
    """A file by what its path says: `MODEL-NAME-VERSION/IDENTIFIER/YYYY/MM/DD/data.csv`."""
    model, identifier, *date = Path(name).parts[:-1]
    return {
        "path": name,
        "model": model,
        "identifier": identifier,
        "date": "-".join(date),
        "bytes": path.stat().st_size,
    }
