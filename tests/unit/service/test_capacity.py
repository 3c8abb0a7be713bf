"""Capacity of a compute: which services get replicas, and which are refused."""

from __future__ import annotations

import pytest

from mlmgmt_nb.contract import AutoScaler, ComputeResource, ContainerResourceReservation, ServiceCreateRequest
from mlmgmt_nb.service.compute.base import Capacity
from mlmgmt_nb.service.http.problems import Problem
from mlmgmt_nb.service.reconciling.capacity import check_capacity, replicas_that_fit, reserved_replicas

TWO_CORES = Capacity(cpus=2.0, memory_bytes=2**30, replicas=10)


def spec(cpu: str | None = None, memory: str | None = None, replicas: int | None = None) -> ServiceCreateRequest:
    return ServiceCreateRequest(
        name="iris",
        image_id="i",
        compute_resource=ComputeResource(),
        num_replicas=replicas,
        container_resource_reservation=ContainerResourceReservation(cpu=cpu, memory=memory),
    )


def test_capacity_reserved_by_other_services_is_not_available() -> None:
    check_capacity(spec("1", replicas=2), [], TWO_CORES)
    check_capacity(spec("500m"), [(spec("0.5"), 3)], TWO_CORES)
    check_capacity(spec(), [(spec("1"), 2)], TWO_CORES)  # without a reservation it gets the rest
    for wanted, others, field in (
        (spec("1", replicas=3), [], r"containerResourceReservation\.cpu"),
        (
            spec("1"),
            [(spec("0.5"), 3)],
            r"cpu: 1 CPUs are not available: this compute has 2 in total, .* have reserved 1\.5",
        ),
        (spec(memory="600Mi"), [(spec(memory="600Mi"), 1)], r"containerResourceReservation\.memory"),
        (spec(replicas=6), [(spec(), 5)], r"\$\.numReplicas"),
    ):
        with pytest.raises(Problem, match=field):
            check_capacity(wanted, others, TWO_CORES)


def test_an_autoscaler_is_refused_its_minimum_only() -> None:
    auto = AutoScaler(autoscale_enabled=True, min_replicas=1, max_replicas=100)
    scaled = ServiceCreateRequest(name="iris", image_id="i", compute_resource=ComputeResource(), auto_scaler=auto)
    check_capacity(scaled, [], TWO_CORES)
    with pytest.raises(Problem, match="minReplicas"):
        check_capacity(scaled, [(spec(), 10)], TWO_CORES)


@pytest.mark.parametrize(
    ("minimum", "scale", "reserved"), [(0, 0, 0), (0, 1, 1), (0, 5, 1), (2, 2, 2), (2, 5, 2), (2, None, 2)]
)
def test_only_replicas_that_run_are_reserved(minimum: int, scale: int | None, reserved: int) -> None:
    auto = AutoScaler(autoscale_enabled=True, min_replicas=minimum, max_replicas=100)
    scaled = ServiceCreateRequest(name="iris", image_id="i", compute_resource=ComputeResource(), auto_scaler=auto)
    assert reserved_replicas(scaled, scale) == reserved


def test_fixed_replicas_are_reserved() -> None:
    assert reserved_replicas(spec(replicas=3), None) == 3
    assert reserved_replicas(spec(replicas=0), None) == 0


def test_how_many_fit() -> None:
    assert replicas_that_fit(spec(), [], TWO_CORES) == 10
    assert replicas_that_fit(spec("500m"), [(spec("1"), 1)], TWO_CORES) == 2
    assert replicas_that_fit(spec("500m", "1Gi"), [(spec("1"), 1)], TWO_CORES) == 1
    assert replicas_that_fit(spec("1"), [(spec("1"), 2)], TWO_CORES) == 0
