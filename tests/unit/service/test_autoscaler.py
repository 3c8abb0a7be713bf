"""The autoscaler's decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.contract import AutoScaler, ComputeResource, ServiceCreateRequest
from mlmgmt_nb.service.compute.measures import Load
from mlmgmt_nb.service.reconciling.autoscaler import ScaleState, decide
from mlmgmt_nb.service.reconciling.specs import Scaling, replica_bounds, replica_count, scaling

CALM_SECONDS = 30.0
AUTO = Scaling(minimum=1, maximum=10, refresh_seconds=1.0, target=0.7)


def spec(**settings: object) -> ServiceCreateRequest:
    auto = AutoScaler(autoscale_enabled=True, **settings)  # type: ignore[arg-type]
    return ServiceCreateRequest(name="iris", image_id="i", compute_resource=ComputeResource(), auto_scaler=auto)


def state(replicas: int) -> ScaleState:
    return ScaleState(replicas=replicas, decided=0.0, looked=0.0)


def load(occupied: float) -> Load:
    return Load(busy=0, slots=10, occupied=occupied)


def test_the_defaults_are_those_of_the_api() -> None:
    assert scaling(spec()) == AUTO
    assert scaling(spec(min_replicas=5, max_replicas=2)) == Scaling(5, 5, 1.0, 0.7)
    assert replica_bounds(spec(min_replicas=0, max_replicas=3)) == (0, 3)


def test_the_scale_counts_only_while_the_autoscaler_is_on() -> None:
    fixed = ServiceCreateRequest(name="iris", image_id="i", compute_resource=ComputeResource(), num_replicas=3)
    assert replica_count(fixed, 1) == 3
    assert [replica_count(spec(min_replicas=2), scale) for scale in (None, 0, 5)] == [2, 0, 5]


def test_up_at_once_to_what_the_load_needs() -> None:
    after = decide(state(1), AUTO, load(20), 10, 1, calm_seconds=CALM_SECONDS)
    assert after.replicas == 3  # 20 busy slots at 70 % of 10 each


def test_not_before_the_refresh_period() -> None:
    before = decide(state(1), AUTO, load(20), 10, 0.9, calm_seconds=CALM_SECONDS)
    assert before.replicas == 1
    assert decide(before, AUTO, load(20), 10, 1.0, calm_seconds=CALM_SECONDS).replicas == 3


def test_what_counts_is_the_mean_of_the_period() -> None:
    auto = Scaling(minimum=1, maximum=10, refresh_seconds=10.0, target=0.7)
    for peak, replicas in ((20, 1), (150, 3)):  # for one second of ten, then nothing
        now = decide(state(1), auto, load(peak), 10, 1.0, calm_seconds=CALM_SECONDS)
        assert now.replicas == 1
        for second in range(2, 11):
            now = decide(now, auto, load(0), 10, float(second), calm_seconds=CALM_SECONDS)
        assert now.replicas == replicas


def test_down_one_by_one_after_a_calm_time() -> None:
    now, seen = state(3), []
    for second in range(1, int(3 * CALM_SECONDS) + 10):
        now = decide(now, AUTO, load(0), 10, float(second), calm_seconds=CALM_SECONDS)
        seen.append(now.replicas)
    assert seen.index(2) == CALM_SECONDS
    assert seen[-1] == 1


def test_a_request_wakes_a_service_that_sleeps() -> None:
    auto = Scaling(0, 3, 1.0, 0.7)
    assert decide(state(0), auto, load(0), 10, 0.1, calm_seconds=CALM_SECONDS, has_request=True).replicas == 1
    assert decide(state(0), auto, load(0), 10, 2.0, calm_seconds=CALM_SECONDS).replicas == 0


def test_it_does_not_fall_asleep_again_before_it_is_awake() -> None:
    auto = Scaling(0, 3, 1.0, 0.7)
    now = decide(state(0), auto, load(0), 10, 0.1, calm_seconds=CALM_SECONDS, has_request=True)
    for second in range(1, 200):
        now = decide(now, auto, load(0), 10, float(second), calm_seconds=CALM_SECONDS, starting=True)
        assert now.replicas == 1


@given(
    minimum=st.integers(0, 5),
    more=st.integers(0, 5),
    target=st.integers(0, 100).map(lambda percent: percent / 100),
    loads=st.lists(st.integers(0, 500), min_size=1, max_size=50),
)
def test_never_past_the_bounds(minimum: int, more: int, target: float, loads: list[int]) -> None:
    auto = Scaling(minimum, max(1, minimum + more), 1.0, target)
    now = state(minimum)
    for second, busy in enumerate(loads, 1):
        now = decide(now, auto, load(busy), 10, float(second), calm_seconds=CALM_SECONDS)
        assert auto.minimum <= now.replicas <= auto.maximum
