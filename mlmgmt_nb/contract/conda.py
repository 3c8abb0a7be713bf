"""Conda environment files as data, and the pip equivalents of their packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mlmgmt_nb.contract.requirements import project_name

__all__ = ["CondaFile", "CondaFileError", "admitted_pythons", "advice", "pip_equivalents", "renamed"]

_MINORS = range(11, 20)
"""The minor versions of Python 3 that the scoring runtime supports, including future versions."""
_PATCHES = range(40)

_PIP_NAMES = {
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "keras-base": "keras",
    "keras-gpu": "keras",
    "lightgbm-base": "lightgbm",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "numpy-base": "numpy",
    "opencv": "opencv-python-headless",
    "psycopg2": "psycopg2-binary",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pyqt": "pyqt5",
    "pytables": "tables",
    "python-graphviz": "graphviz",
    "python-kafka": "kafka-python",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "seaborn-base": "seaborn",
    "snowflake-connector": "snowflake-connector-python",
    "tensorflow-base": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "torchvision-cpu": "torchvision",
    "ruamel-yaml": "ruamel.yaml",
}
"""Pip names of projects whose conda package has a different name, by normalized conda name."""
_PART_OF_PYTHON = frozenset(
    [
        "bzip2",
        "ca-certificates",
        "ld-impl-linux-64",
        "libffi",
        "libuuid",
        "ncurses",
        "nomkl",
        "openssl",
        "pip",
        "python-abi",
        "readline",
        "sqlite",
        "tk",
        "xz",
        "zlib",
    ]
)
"""Packages that every Python outside of conda includes or does not need."""
_WITHOUT_PIP = frozenset(
    [
        "binutils",
        "blas",
        "boost",
        "cairo",
        "clang",
        "compilers",
        "cpuonly",
        "cuda",
        "cudatoolkit",
        "cudnn",
        "curl",
        "cxx-compiler",
        "expat",
        "ffmpeg",
        "fontconfig",
        "freetype",
        "gcc",
        "gdal",
        "geos",
        "gfortran",
        "git",
        "glib",
        "graphviz",
        "gsl",
        "gxx",
        "hdf5",
        "icu",
        "intel-openmp",
        "java",
        "jpeg",
        "kernel-headers",
        "make",
        "mesa",
        "mpi",
        "mpich",
        "nccl",
        "nodejs",
        "openblas",
        "openjdk",
        "openmpi",
        "pandoc",
        "perl",
        "pkg-config",
        "proj",
        "pytorch-cuda",
        "qt",
        "r",
        "rust",
        "snappy",
        "swig",
        "sysroot",
        "tbb",
        "unixodbc",
        "wget",
        "zstd",
    ]
)
"""Programs and libraries that pip cannot install, even if another project on PyPI has the same name."""
_WITHOUT_PIP_PREFIX = re.compile(r"lib(?!rosa|svm|cst|sass|tmux|clang)|r-|_|cuda-|gcc-|gxx-|arrow-cpp|\S+-ng$")
_PUBLIC_CHANNELS = frozenset(
    [
        "anaconda",
        "bioconda",
        "conda-forge",
        "defaults",
        "fastai",
        "free",
        "h2oai",
        "huggingface",
        "intel",
        "main",
        "microsoft",
        "msys2",
        "nodefaults",
        "nvidia",
        "plotly",
        "pro",
        "pytorch",
        "pyviz",
        "r",
        "rapidsai",
        "stanfordnlp",
    ]
)
_PUBLIC_URL = re.compile(r"https?://(?:(?:conda|repo)\.(?:anaconda\.(?:com|org)|continuum\.io)/)(?:pkgs/)?")
_ENTRY = re.compile(r"(?:(?P<channel>[^\s\[\]]+)::)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<version>[^\[\]]*)")


class CondaFileError(ValueError):
    """The content is not a conda environment file."""


class CondaFile(NamedTuple):
    """The content of a conda environment file.

    Attributes:
        packages: its conda packages as written, including Python.
        pip: the lines of its pip section.
        channels: the channels that conda searches for packages.
    """

    packages: list[str]
    pip: list[str]
    channels: list[str]

    @classmethod
    def of(cls, content: object) -> CondaFile:
        """Read the decoded content of a file.

        Raises:
            CondaFileError: the content does not have the structure of a conda environment file.
        """
        entries, channels = _dependencies_and_channels(content)
        packages = [entry for entry in entries if isinstance(entry, str)]
        pip = _pip_lines([entry for entry in entries if not isinstance(entry, str)])
        if not all(isinstance(text, str) for text in (*pip, *channels)):
            raise CondaFileError("the entries of 'pip' and 'channels' must be text")
        return cls(packages, pip, channels)

    @property
    def pythons(self) -> list[str]:
        """Return the entries for Python itself."""
        return [entry for entry in self.packages if _name(entry) == "python"]


def _dependencies_and_channels(content: object) -> tuple[list[Any], list[Any]]:
    if not isinstance(content, dict):
        raise CondaFileError("the list 'dependencies' is missing")
    entries, channels = content.get("dependencies") or [], content.get("channels") or []
    if not isinstance(entries, list) or not isinstance(channels, list):
        raise CondaFileError("'dependencies' and 'channels' must both be lists")
    return entries, channels


def _pip_lines(sections: Sequence[Any]) -> list[Any]:
    """Return the lines of the pip sections. These are the entries of `dependencies` that are not text."""
    if not all(_is_pip_section(section) for section in sections):
        raise CondaFileError("'dependencies' must list packages, with pip packages under 'pip:'")
    return [line for section in sections for line in section.get("pip") or []]


def _is_pip_section(entry: object) -> bool:
    return isinstance(entry, dict) and entry.keys() <= {"pip"} and isinstance(entry.get("pip") or [], list)


def _name(entry: str) -> str:
    found = _ENTRY.fullmatch(entry.strip())
    return project_name(found["name"]) if found else ""


def admitted_pythons(entries: Iterable[str]) -> list[str]:
    """Return the Python versions, such as `3.11`, that the runtime supports and that all entries allow.

    A version with a patch level, such as `python=3.11.4`, allows its whole minor version.

    Raises:
        CondaFileError: an entry cannot be parsed.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        admitted = [SpecifierSet(_version(entry)) for entry in entries]
    except InvalidSpecifier as error:
        raise CondaFileError(f"its Python version cannot be parsed: {error}") from error

    def is_admitted(minor: str) -> bool:
        return all(any(f"{minor}.{patch}" in spec for patch in _PATCHES) for spec in admitted)

    return [minor for number in _MINORS if is_admitted(minor := f"3.{number}")]


def renamed(file: CondaFile) -> list[str]:
    """Return the packages that have a different pip name, formatted for messages: `py-xgboost (as xgboost)`."""
    return [f"{entry} (as {_PIP_NAMES[name]})" for entry in file.packages if (name := _name(entry)) in _PIP_NAMES]


def pip_equivalents(file: CondaFile) -> tuple[list[str], list[str], list[str]]:
    """Convert conda packages to pip requirements.

    Returns:
        the requirements; the entries that every Python includes or does not need; and the problems with the others.
    """
    found: list[str] = []
    left_out: list[str] = []
    problems: list[str] = []
    for entry in file.packages:
        name = _name(entry)
        if name in _PART_OF_PYTHON:
            left_out.append(entry)
        elif name != "python":
            try:
                found.append(_pip_requirement(entry))
            except CondaFileError as error:
                problems.append(str(error))
    if found or problems:
        problems += [_foreign_channel(channel) for channel in file.channels if not _is_public(channel)]
    return found, left_out, problems


def _pip_requirement(entry: str) -> str:
    parts = _ENTRY.fullmatch(entry.strip())
    if not parts:
        raise CondaFileError(f"{entry!r} cannot be parsed; write NAME=VERSION")
    if parts["channel"] and not _is_public(parts["channel"]):
        raise CondaFileError(_foreign_channel(parts["channel"]))
    name = project_name(parts["name"])
    if name in _WITHOUT_PIP or _WITHOUT_PIP_PREFIX.match(parts["name"]):
        raise CondaFileError(f"{entry!r} is a library or program that pip cannot install")
    return f"{_PIP_NAMES.get(name, parts['name'])}{_version(entry)}"


def _version(entry: str) -> str:
    """Return the version of an entry in pip syntax, without its build: `=1.2` becomes `==1.2.*`."""
    parts = _ENTRY.fullmatch(entry.strip())
    version = parts["version"].strip() if parts else ""
    if "|" in version:
        raise CondaFileError(f"{entry!r} has alternatives; write one version or a range")
    return ",".join(_clause(clause.strip()) for clause in version.split(",") if clause.strip())


def _clause(text: str) -> str:
    if text[0] in "<>!~" or text.startswith("=="):
        return "".join(text.split())
    version, *build = re.split(r"[=\s]+", text.lstrip("= "))
    if version == "*":
        return ""
    # In conda, `=1.2` is a prefix, and `1.2` or `=1.2=BUILD` is exact.
    is_prefix = text.startswith("=") and not build and not version.endswith("*")
    return f"=={version}.*" if is_prefix else f"=={version}"


def _is_public(channel: str) -> bool:
    return _PUBLIC_URL.sub("", channel).strip("/").partition("/")[0] in _PUBLIC_CHANNELS


def _foreign_channel(channel: str) -> str:
    shown = re.sub(r"(?<=://)[^/@]*@", "", channel)
    return f"the channel {shown!r} may have packages that are not on the public pip index"


def advice(*, about_python: bool, about_packages: bool) -> str:
    """Return the fix for a file that compute `local` cannot serve."""
    python = "Relax the Python version, or use --any-python (any_python=True) to run on the current Python."
    packages = (
        "Move packages that pip can install to 'pip:' and remove the others, or use compute `docker`, which uses conda."
    )
    return " ".join([*([python] if about_python else []), *([packages] if about_packages else [])])
