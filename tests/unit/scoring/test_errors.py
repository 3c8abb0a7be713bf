"""What an error of a driver says besides its own words."""

from __future__ import annotations

import io
import pickle

import pytest

from mlmgmt_nb.scoring.errors import driver_failure, last_line


class Unpickler(pickle.Unpickler):
    """Looks names up in a `__main__` that has none of them, as the runtime's."""

    def find_class(self, module: str, name: str) -> object:
        return super().find_class("mlmgmt_nb.scoring.__main__" if module == "__main__" else module, name)


def missing(name: str) -> AttributeError:
    content = f"c__main__\n{name}\n.".encode()
    with pytest.raises(AttributeError) as caught:
        Unpickler(io.BytesIO(content)).load()
    return caught.value


@pytest.mark.parametrize("name", ["Doubler", "no_such_function"])
def test_an_object_of_a_notebook_says_what_to_do(name: str) -> None:
    error = missing(name)
    for message in (last_line(error, "/app"), driver_failure(error).message):
        assert f"{name} was defined in the notebook or script that pickled it" in message
        assert "-d MODULE.py" in message


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("Can't get attribute 'Doubler' on <module 'words' from 'words.py'>"),
        AttributeError("'int' object has no attribute 'predict'"),
        ValueError("module '__main__' has no attribute 'x'"),
    ],
)
def test_other_errors_are_as_they_are(error: Exception) -> None:
    assert last_line(error, "/app") == f"{type(error).__name__}: {error}"


def test_how_later_releases_of_python_say_it() -> None:
    assert "Doubler was defined" in last_line(AttributeError("module '__main__' has no attribute 'Doubler'"), "/app")
