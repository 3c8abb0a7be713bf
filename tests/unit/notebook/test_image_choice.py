"""Which images a service is offered first, and what a confirmation says of them."""

from __future__ import annotations

import itertools

import pytest

from mlmgmt_nb.contract import Asset, ComputeResource, Image, Manifest, Model, ServiceResponse, TargetRuntime
from mlmgmt_nb.notebook.panels.service.image_choice import ImageChoice, ImageRelation


def image(name: str, *, manifest: str = "", models: list[str] | None = None, version: int = 1) -> Image:
    made_of = Manifest(
        assets=[Asset(id="driver", url="u", mime_type="text/x-python")],
        driver_program="driver",
        name=manifest or name,
        version=version,
        target_runtime=TargetRuntime(properties={}, runtime_type="Python"),
        model_ids=models,
    )
    return Image(id=f"{name}-{version}", name=name, version=version, manifest=made_of)


def service(runs: Image) -> ServiceResponse:
    return ServiceResponse(
        compute_resource=ComputeResource(id="local"),
        name="iris",
        image=runs,
        manifest=runs.manifest,
        models=[Model(id="m1", name="iris", url="u", mime_type="m", version=1)],
    )


RUNS = image("iris", models=["m1"])
CHOICE = ImageChoice(service(RUNS), ran={"old-1"}, models={"m1": "iris version 1", "m2": "iris version 2"})


@pytest.mark.parametrize(
    ("offered", "relation"),
    [
        (RUNS, ImageRelation.OWN),
        (image("iris", version=2, models=["m9"]), ImageRelation.OWN),
        (image("another-name", manifest="iris"), ImageRelation.OWN),
        (image("old"), ImageRelation.OWN),
        (image("other", models=["m2"]), ImageRelation.MODEL),
        (image("other", models=["m9", "m1"]), ImageRelation.MODEL),
        (image("other", models=["m9"]), ImageRelation.OTHER),
        (image("other"), ImageRelation.OTHER),
        (Image(id="bare", name="iris"), ImageRelation.OTHER),
    ],
)
def test_relation(offered: Image, relation: ImageRelation) -> None:
    assert CHOICE.relation(offered) is relation


def test_the_nearest_come_first_in_any_order() -> None:
    near = [image("iris", version=2), image("other", models=["m2"]), image("foreign")]
    for order in itertools.permutations(near):
        assert CHOICE.sort_images(order) == near


def test_a_difference_names_what_changes_and_nothing_else() -> None:
    assert CHOICE.differences(RUNS) == []
    assert CHOICE.differences(image("iris", version=2, models=["m2"])) == [
        ("image", "iris version 1", "iris version 2"),
        ("manifest", "iris version 1", "iris version 2"),
        ("models", "iris version 1", "iris version 2"),
    ]
    assert ("models", "iris version 1", "another model") in CHOICE.differences(image("other", models=["m9"]))
