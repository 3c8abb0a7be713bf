"""Collected data of a service: the rows that its drivers wrote with `ModelDataCollector`, as CSV files.

An extension: `services/ID/data` lists the files, and `services/ID/data?path=PATH` returns one file.
"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath

from mlmgmt_nb.service.api.app import Call
from mlmgmt_nb.service.api.resources.lookup import row_of
from mlmgmt_nb.service.files.collected_data import Collection
from mlmgmt_nb.service.http.messages import Reply
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.store import schema

__all__ = ["read"]

log = logging.getLogger(__name__)


def read(call: Call) -> Reply:
    """Return the data that the drivers of a service collected.

    `value` lists the files: `path`, `model`, `identifier`, `date`, `bytes`. With `path` in the query, the file as CSV.
    """
    with call.backend.store.reading() as db:
        service = row_of(db, call, schema.services)
    # The path that the runtime's collector writes to: the account, then the service.
    collection = Collection(call.backend.settings.data_storage or str(call.backend.home.data))
    try:
        return _answer(collection, f"modeldata/{call.account}/{service.name}", call.query.get("path"))
    except Problem:
        raise
    except Exception as error:  # each storage has its own exceptions
        log.warning("cannot read the collected data of %s", service.name, exc_info=error)
        raise Problem(
            502,
            "DataUnreachable",
            f"Cannot read the storage of the collected data: {type(error).__name__}. Check MLMGMT_DATA_STORAGE; the "
            "log of the Model Management service has the cause.",
        ) from error


def _answer(collection: Collection, folder: str, wanted: str | None) -> Reply:
    files = collection.files(folder)
    if wanted is None:
        return Reply(200, {"value": [_described(name, size) for name, size in files.items()]})
    # Only listed files can be read, so no path leads outside the folder.
    if wanted not in files:
        raise Problem(404, "DataNotFound", f"This service has not collected {wanted!r}.")
    return Reply(200, collection.read(folder, wanted), media_type="text/csv; charset=utf-8")


def _described(name: str, size: int) -> dict[str, object]:
    """Describe a file by its path: `MODEL-NAME-VERSION/IDENTIFIER/YYYY/MM/DD/data.csv`."""
    model, identifier, *date = PurePosixPath(name).parts[:-1]
    return {"path": name, "model": model, "identifier": identifier, "date": "-".join(date), "bytes": size}
