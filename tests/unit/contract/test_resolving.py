"""Types that threads decode are resolved when they are imported; otherwise a second thread ends the process."""

from __future__ import annotations

import subprocess
import sys

CHECK = """
import ast, importlib, pathlib, pkgutil, sys
import msgspec
import mlmgmt_nb
from mlmgmt_nb.contract.resources import Wire

# What these read is read before there are threads.
LEFT_OUT = ("mlmgmt_nb.scoring", "mlmgmt_nb.packaging", "mlmgmt_nb.load_generator")
found = {}


def all_of(base):
    for kind in base.__subclasses__():
        yield kind
        yield from all_of(kind)


def decoded(module):
    for node in ast.walk(ast.parse(pathlib.Path(module.__file__).read_text())):
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("msgspec."):
            continue
        for given in [*[key.value for key in node.keywords if key.arg == "type"], *node.args[1:]]:
            for name in ast.walk(given):
                if isinstance(name, ast.Name) and isinstance(getattr(module, name.id, None), type):
                    yield getattr(module, name.id)


for info in pkgutil.walk_packages(mlmgmt_nb.__path__, "mlmgmt_nb."):
    if not info.name.startswith(LEFT_OUT) and not info.name.endswith("__main__"):
        module = importlib.import_module(info.name)
        found.update((kind, 1) for kind in decoded(module) if issubclass(kind, msgspec.Struct))
from mlmgmt_nb.contract.extensions import BODIES
kinds = [*all_of(Wire), *found, *BODIES.values()]
print(len(kinds))
for kind in kinds:  # msgspec reads the annotations of a type only to resolve it
    kind.__annotations__ = dict.fromkeys(kind.__annotations__, "not_there")
for kind in kinds:
    try:
        msgspec.json.Decoder(kind)
    except NameError:
        print("not resolved:", kind)
"""
DECODE = """
import sys, threading
import msgspec
from mlmgmt_nb.contract import Service

sys.setswitchinterval(1e-6)
together = threading.Barrier(6)


def decode():
    together.wait()
    msgspec.json.decode(b'{"autoScaler":{"minReplicas":1},"image":{"name":"iris"}}', type=Service | None, strict=False)


threads = [threading.Thread(target=decode) for _ in range(6)]
threading.excepthook = lambda _: None
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_all_types_that_are_decoded_are_resolved() -> None:
    count, *rest = _run(CHECK).splitlines()
    assert int(count) > 30
    assert rest == []


def test_threads_decode_a_type_for_the_first_time_together() -> None:
    for _ in range(3):
        _run(DECODE)
