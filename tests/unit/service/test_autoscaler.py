"""The autoscaler's decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.contract import AutoScaler, ComputeResource, ServiceCreateRequest
from mlmgmt_nb.service.autoscaler import CALM_SECONDS, ScaleState, decide
from mlmgmt_nb.service.compute.base import Load
from mlmgmt_nb.service.specs import Scaling, replica_bounds, replica_count, scaling

AUTO = Scaling(minimum=1, maximum=10, refresh_seconds=1.0, target=0.7)


def spec(**settings: object) -> ServiceCreateRequest:
    auto = AutoScaler(autoscale_enabled=True, **settings)  # type: ignore[arg-type]
    return ServiceCreateRequest(name="iris", image_id="i", compute_resource=ComputeResource(), auto_scaler=auto)


def test_the_defaults_are_those_of_the_api() -> None:
    assert scaling(spec()) == AUTO
    assert scaling(spec(min_replicas=5, max_replicas=2)) == Scaling(5, 5, 1.0, 0.7)
    assert replica_bounds(spec(min_replicas=0, max_replicas=3)) == (0, 3)


def test_the_scale_counts_only_while_the_autoscaler_is_on() -> None:
    fixed = ServiceCreateRequest(name="iris", image_id="i", compute_resource=ComputeResource(), num_replicas=3)
    assert replica_count(fixed, 1) == 3
    assert [replica_count(spec(min_replicas=2), scale) for scale in (None, 0, 5)] == [2, 0, 5]


def test_up_at_once_to_what_the_load_needs() -> None:
    after = decide(ScaleState(replicas=1), AUTO, Load(busy=20, slots=10), 10, 0, knocked=False)
    assert after.replicas == 3  # 20 busy slots at 70 % of 10 each


def test_not_before_the_refresh_period() -> None:
    state = ScaleState(replicas=1, decided=10.0)
    assert decide(state, AUTO, Load(20, 10), 10, 10.9, knocked=False) is state
    assert decide(state, AUTO, Load(20, 10), 10, 11.0, knocked=False).replicas == 3


def test_down_one_by_one_after_a_calm_time() -> None:
    state, seen = ScaleState(replicas=3), []
    for second in range(int(3 * CALM_SECONDS) + 10):
        state = decide(state, AUTO, Load(0, 30), 10, float(second), knocked=False)
        seen.append(state.replicas)
    assert seen.index(2) == CALM_SECONDS
    assert seen[-1] == 1


def test_a_request_wakes_a_service_that_sleeps() -> None:
    asleep = ScaleState(replicas=0, decided=5.0)
    auto = Scaling(0, 3, 1.0, 0.7)
    assert decide(asleep, auto, Load(0, 0), 10, 5.0, knocked=True).replicas == 1
    assert decide(asleep, auto, Load(0, 0), 10, 7.0, knocked=False).replicas == 0


@given(
    minimum=st.integers(0, 5),
    more=st.integers(0, 5),
    target=st.integers(0, 100).map(lambda percent: percent / 100),
    loads=st.lists(st.integers(0, 500), min_size=1, max_size=50),
)
def test_never_past_the_bounds(minimum: int, more: int, target: float, loads: list[int]) -> None:
    auto = Scaling(minimum, max(1, minimum + more), 1.0, target)
    state = ScaleState(replicas=minimum)
    for second, busy in enumerate(loads):
        state = decide(state, auto, Load(busy, 10), 10, float(second), knocked=False)
        assert auto.minimum <= state.replicas <= auto.maximum
