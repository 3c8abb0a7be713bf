"""Errors of the client in the words of commands."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlmgmt_nb.client.bodies import checked
from mlmgmt_nb.commands import COMMANDS
from mlmgmt_nb.commands.advice import advice
from mlmgmt_nb.commands.verbs.services.candidates import _EXAMPLES, _LIMITS, _limit, _number
from mlmgmt_nb.contract.changes import MOST_WARM_MINUTES
from mlmgmt_nb.contract.traffic import CanaryRequest, CanaryStep
from mlmgmt_nb.errors import ConflictError, DriverError, ScoringError, ScoringTestFailed, UsageError

(CREATE,) = [command for command in COMMANDS if command.words == ("service", "create")]


@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        ("Give another name, or `if_exists='update'`.", "Give another name, or `--if-exists update`."),
        ("Give `driver='score.py'`; a function needs none.", "Give `--driver score.py`; a function needs none."),
        ("`schema='a.json'` or `conda='b.yml'`.", "`--schema-file a.json` or `--conda-file b.yml`."),
        ("`ws.manifests.list()` lists the existing manifests.", "`mlmgmt manifest list` lists the existing manifests."),
        ("`ws.services.get('iris')` shows its error.", "`mlmgmt service show -n iris` shows its error."),
        (
            "Give the id of one, or list them again: `ws.models.unarchive('iris')`.",
            "Give the id of one, or list them again: `mlmgmt model unarchive -n iris`.",
        ),
        (
            "Give cases, or record requests: `ws.services.update('churn', recording=True)`.",
            "Give cases, or record requests: `mlmgmt service update -n churn --record-requests true`.",
        ),
        (
            "Give percentages in ascending order, such as `[5, 25, 100]`.",
            "Give percentages in ascending order, such as `--share 5,25,100`.",
        ),
        ("Call `change.mirror(minutes=10)`.", "Call `mlmgmt service mirror -n NAME --minutes 10`."),
        ("Use `unknown='x'`.", "Use `unknown='x'`."),
        ("Give one of update, reuse.", "Give one of update, reuse."),
        (None, None),
    ],
)
def test_a_fix_names_flags(fix: str | None, shown: str | None) -> None:
    for error in (ConflictError("it exists", status_code=409, fix=fix), UsageError("it is wrong", fix=fix)):
        with pytest.raises(type(error)) as caught, advice("mlmgmt", CREATE.flags, None):
            raise error
        assert caught.value.fix == shown


@pytest.mark.parametrize("kind", [ScoringError, DriverError])
@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        (
            "`ws.services.logs(...)` has the traceback, under request 1a-2.",
            "`mlmgmt service logs -n iris --request-id 1a-2` has the traceback.",
        ),
        ("`ws.services.logs(...)` has the log.", "`mlmgmt service logs -n iris` has the log."),
        (
            "`ws.services.update(..., num_replicas=1)` starts a replica.",
            "`mlmgmt service update -n iris -z 1` starts a replica.",
        ),
        ("`ws.services.keys(...)` returns them.", "`mlmgmt service keys -n iris --show` returns them."),
        (None, None),
    ],
)
def test_a_fix_of_scoring_names_commands(kind: type[ScoringError], fix: str | None, shown: str | None) -> None:
    with pytest.raises(kind) as caught, advice("mlmgmt", CREATE.flags, SimpleNamespace(service="iris")):
        raise kind("it failed", status_code=500, fix=fix)
    assert caught.value.fix == shown


def test_a_mirror_is_one_of_the_service_of_the_command() -> None:
    fix = "Call `change.mirror(minutes=10)`, and wait for requests."
    with pytest.raises(UsageError) as caught, advice("%mlmgmt", (), SimpleNamespace(service="churn")):
        raise UsageError("no request of service 'churn' has been mirrored", fix=fix)
    assert caught.value.fix == "Call `%mlmgmt service mirror -n churn --minutes 10`, and wait for requests."


@pytest.mark.parametrize(
    ("junit", "shown"), [(None, "`--junit FILE` writes the result."), ("j.xml", "j.xml has the result.")]
)
def test_the_result_of_a_test_is_in_a_file(junit: str | None, shown: str) -> None:
    with pytest.raises(ScoringTestFailed) as caught, advice("mlmgmt", (), SimpleNamespace(junit=junit)):
        raise ScoringTestFailed("the gate failed", None)
    assert caught.value.fix == shown


@pytest.mark.parametrize("name", _EXAMPLES)
def test_an_error_about_a_number_has_a_value_that_the_flag_takes(name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"{flag}: '1%' is not a number") as caught:
        _number(name, "1%")
    also = ", or `none` for any" if name in _LIMITS else ""
    assert caught.value.fix == f"Use a number, such as `{flag} {_EXAMPLES[name]}`{also}."
    number = _number(name, _EXAMPLES[name])
    if name == "keep_warm":
        assert 0 < number <= MOST_WARM_MINUTES
    elif name in {"share", "minutes"}:
        assert checked(CanaryStep, **{"share": 5, "minutes": 0, name: number})
    else:
        assert checked(CanaryRequest, steps=[CanaryStep(share=5, minutes=0)], **{name: number})


@pytest.mark.parametrize("name", _LIMITS)
def test_a_condition_of_a_canary_can_be_turned_off(name: str) -> None:
    assert (_limit(name, "none"), _limit(name, "None"), _limit(name, "0.5")) == (None, None, 0.5)
    (canary,) = [command for command in COMMANDS if command.words == ("service", "canary")]
    (flag,) = [flag for flag in canary.flags if flag.dest == name]
    assert "or none for any" in flag.help
