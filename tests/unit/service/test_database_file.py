"""A database that is deleted or replaced while it is open: no write is confirmed that would be lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, text

from mlmgmt_nb.errors import LocalServiceError
from mlmgmt_nb.service.files.home import Home
from mlmgmt_nb.service.store import schema
from mlmgmt_nb.service.store.database_file import StoreMissing, saved_copy
from mlmgmt_nb.service.store.errors import store_problem
from mlmgmt_nb.service.store.installation import bind, check_database
from mlmgmt_nb.service.store.store import Store

HARMS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "replaced": lambda path: path.with_name("other").replace(path),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_database_that_is_deleted_while_it_is_open(tmp_path: Path, harm: str) -> None:
    home = Home(tmp_path)
    (tmp_path / "port").write_text("1")  # a service has listened
    store = Store(home.database)
    bind(home, store, lambda _: True)
    (tmp_path / "other").touch()
    HARMS[harm](home.database)
    for _ in range(2):
        with pytest.raises(StoreMissing, match=r"nothing was changed.*mlmgmt stop, then mv") as raised, store.writing():
            pytest.fail("the write began")
    problem = store_problem(raised.value)
    assert problem is not None
    assert (problem.status, problem.response.code) == (500, "StoreMissing")
    with store.reading() as db:
        known = db.scalar(select(schema.installation.c.id))
        with pytest.raises(StoreMissing), store.reading():  # another connection: it would create an empty database
            pytest.fail("the read began")
    with pytest.raises(LocalServiceError) as lost:
        check_database(home, None)
    assert f"mv {saved_copy(home.database)} {home.database}" in str(lost.value)
    store.close()
    saved_copy(home.database).replace(home.database)
    check_database(home, None)
    again = Store(home.database)
    with again.reading() as db:
        assert db.scalar(select(schema.installation.c.id)) == known
    again.close()


def test_a_database_that_is_put_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "mlmgmt.db")
    (tmp_path / "mlmgmt.db").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreMissing), store.writing():
        pytest.fail("the write began")
    (tmp_path / "elsewhere").rename(tmp_path / "mlmgmt.db")
    with store.writing() as db:
        db.execute(text("SELECT 1"))
    store.close()


def test_a_damaged_database_names_the_way_back(tmp_path: Path) -> None:
    (tmp_path / "mlmgmt.db").write_bytes(b"x" * 9000)
    with pytest.raises(LocalServiceError, match=r"mlmgmt\.db cannot be used") as caught:
        Store(tmp_path / "mlmgmt.db")
    assert "mlmgmt restore FILE" in (caught.value.fix or "")
    assert "space" not in (caught.value.fix or "")
