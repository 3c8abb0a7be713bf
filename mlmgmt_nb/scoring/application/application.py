"""Find the driver and the schema of an application folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mlmgmt_nb.scoring.errors import LoadError

__all__ = ["APP_FILE", "Application", "find_application"]

APP_FILE = "mlmgmt-app.json"
_DEFINES_RUN = re.compile(rb"^(?:async +)?def +run\b|^run *=", re.MULTILINE)


class _AppFile(msgspec.Struct, forbid_unknown_fields=True):
    driver: str
    schema: str | None = None


@dataclass(frozen=True)
class Application:
    """The files of a service.

    Attributes:
        folder: absolute path; the working directory of the driver.
        driver: absolute path of the driver.
        schema: absolute path of the schema file, or None if `run` takes the body as text.
        schema_named: the schema was named explicitly; otherwise it was found by its file name.
    """

    folder: Path
    driver: Path
    schema: Path | None
    schema_named: bool = True


def find_application(folder: str, driver: str | None = None, schema: str | None = None) -> Application:
    """Return the application in a folder.

    The arguments take precedence over `mlmgmt-app.json`, and that over `score.py` (or the only `.py` file
    that defines `run`) and `service_schema.json` if there is one.

    Args:
        folder: the application folder.
        driver: path of the driver, relative to the folder.
        schema: path of the schema file, relative to the folder.

    Raises:
        LoadError: a file is missing, or the driver is ambiguous.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise LoadError("ApplicationError", f"{folder}: this folder does not exist")
    named = _read_app_file(root / APP_FILE)
    schema_named = True
    if named:
        driver, schema = driver or named.driver, schema or named.schema
    elif schema is None and (root / "service_schema.json").is_file():
        schema, schema_named = "service_schema.json", False
    driver_path = _existing(root, driver, "driver") if driver else _only_driver(root)
    return Application(root, driver_path, _existing(root, schema, "schema") if schema else None, schema_named)


def _read_app_file(path: Path) -> _AppFile | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_AppFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        fix = "Create the image again, or remove the file from a folder that you serve yourself."
        raise LoadError("ApplicationError", f"{APP_FILE} is damaged: {error}. {fix}") from error


def _existing(root: Path, name: str, what: str) -> Path:
    path = (root / name).resolve()
    if not path.is_file():
        code = "SchemaError" if what == "schema" else "ApplicationError"
        raise LoadError(code, f"{name}: the {what} file is not in {root.name}/")
    return path


def _only_driver(root: Path) -> Path:
    if (root / "score.py").is_file():
        return root / "score.py"
    found = sorted(path for path in root.glob("*.py") if _DEFINES_RUN.search(path.read_bytes()))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found)
    raise LoadError(
        "ApplicationError",
        f"{root.name}/ has no score.py and {'several files define run()' if found else 'no .py file defines run()'}"
        + (f": {names}. Choose one with --driver" if found else ""),
    )
