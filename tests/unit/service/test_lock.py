"""The lock that `uv` writes, as it is kept."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mlmgmt_nb.service.building.packages.lock import Lock

PYPI = "https://pypi.org/simple"
FILES = "https://files.pythonhosted.org/packages/16/fd"


@pytest.mark.parametrize(
    ("files", "index"),
    [
        (f'sdist = {{ url = "{FILES}/a-1.tar.gz" }}\nwheels = [{{ url = "{FILES}/a-1-py3-none-any.whl" }}]', PYPI),
        (f'marker = "sys_platform == \'linux\'"\nwheels = [{{ url = "{FILES}/a-1-py3-none-any.whl" }}]', PYPI),
        (f'sdist = {{ url = "{FILES}/a-1.tar.gz" }}', PYPI),
        (
            f'index = "https://i.example/s"\nwheels = [{{ url = "{FILES}/a-1-py3-none-any.whl" }}]',
            "https://i.example/s",
        ),
        ('wheels = [{ url = "https://i.example/a-1-py3-none-any.whl" }]', None),
        ('archive = { path = "packages/1/a-1-py3-none-any.whl" }', None),
        (f'archive = {{ url = "{FILES}/a-1-py3-none-any.whl" }}', None),
    ],
)
def test_packages_of_pypi_name_it(files: str, index: str | None) -> None:
    """Check the index of a package between two others: `uv` finds those of PyPI in its cache by it."""
    other = '[[packages]]\nname = "{}"\nversion = "2"\nwheels = [{{ url = "{}/b-2-py3-none-any.whl" }}]\n\n'
    head, foot = other.format("of-pypi", FILES), other.format("of-another", "https://i.example")
    lock = Lock.resolved_in(Path("/context"), f'{head}[[packages]]\nname = "a"\nversion = "1"\n{files}\n\n{foot}')
    assert [package.get("index") for package in lock.packages] == [PYPI, index, None]
    without = [{key: value for key, value in package.items() if key != "index"} for package in lock.packages]
    written = tomllib.loads(f'[[packages]]\nname = "a"\nversion = "1"\n{files}')["packages"][0]
    assert without[1] == {key: value for key, value in written.items() if key != "index"}
