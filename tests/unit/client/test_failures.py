"""The lines of a log that explain a failure."""

from __future__ import annotations

import pytest

from mlmgmt_nb.client.monitoring.failures import driver_traceback, explanation

_LOADER = '  File "/s/images/1/runtime/mlmgmt_nb/scoring/driver/loading.py", line 68, in _call_init\n    made = init()'
DRIVER = f"""\
[mlmgmt] replica 1 starts
Traceback (most recent call last):
{_LOADER}
           ^^^^^^
  File "/s/images/1/app/score.py", line 3, in init
    load()
  File "/s/images/1/app/parts/table.py", line 7, in load
    return x["missing"]
           ~^^^^^^^^^^^
KeyError: 'missing'
[mlmgmt] replica 1 ended: KeyError: 'missing' (table.py:7)
"""
CAUSED = """\
Traceback (most recent call last):
  File "/app/score.py", line 2, in init
    open("x")
FileNotFoundError: x

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/score.py", line 4, in init
    raise ValueError("y") from None
ValueError: y
"""
BUILD = """\
[1/2] models
model 'm': m.pkl
[2/2] requirements
$ uv pip install nope
error: No solution found
  cause: nope is unknown
the build failed: nope: no package index has it
"""


@pytest.mark.parametrize(
    ("log", "reason", "shown"),
    [
        (
            DRIVER,
            "KeyError: 'missing' (table.py:7)",
            [
                '  File "score.py", line 3, in init',
                "    load()",
                '  File "parts/table.py", line 7, in load',
                '    return x["missing"]',
            ],
        ),
        (BUILD, "nope: no package index has it", ["error: No solution found", "  cause: nope is unknown"]),
        ("[mlmgmt] replica 1 starts\nlast words\n[mlmgmt] replica 1 ended: x\n", "x", ["last words"]),
        ("[mlmgmt] replica 1 starts\n[mlmgmt] replica 1 ended: x\n", "x", []),
        ("", "x", []),
    ],
)
def test_an_explanation_is_what_the_user_wrote_or_was_told(log: str, reason: str, shown: list[str]) -> None:
    assert explanation(log.splitlines(), reason, 10) == shown


def test_an_explanation_is_short_and_ends_at_the_failure() -> None:
    log = [f"line {number}" for number in range(30)]
    assert explanation(log, "x", 3) == ["... 28 lines before", "line 28", "line 29"]
    assert explanation(log, "x", 0) == explanation(log, "x", -1) == []


def test_a_traceback_keeps_its_causes_and_loses_the_runtime() -> None:
    assert driver_traceback(CAUSED.splitlines()) == CAUSED.replace("/app/", "").splitlines()
    found = driver_traceback(DRIVER.splitlines())
    assert found[0] == "Traceback (most recent call last):"
    assert found[-1] == "KeyError: 'missing'"
    assert "mlmgmt_nb" not in "\n".join(found)
    assert driver_traceback(["no traceback"]) == []
