"""Which optimizer of a target is meant, what the result calls it, and which generation is written: real checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import ckptdoctor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.options import GraftOptions
from ckptdoctor.state import Generation

MOMENTUM = "v2.21-tf1-momentum/model.ckpt-7"


def names(path: Path) -> dict[str, int | None]:
    """Each optimizer of an artifact with its count."""
    (artifact,) = ckptdoctor.inspect(path)
    return {each.name: each.iterations for each in artifact.optimizers}


def test_every_generation_is_an_option() -> None:
    """What the command takes, a type checker lets Python programs say."""
    told = [word for each in get_args(get_type_hints(GraftOptions)["generation"]) for word in get_args(each)]
    assert sorted(told) == sorted(each.value for each in Generation)


@pytest.mark.parametrize("checkpoint", ["v2.0-tfk-ckpt-gan", "v2.11-tfk-ckpt-gan", "v2.13-tfk-ckpt-gan"])
def test_one_of_several_is_replaced(museum: Path, tmp_path: Path, checkpoint: str) -> None:
    """The one that is named is replaced under its name, and the other stays."""
    donor = museum / f"tf/{checkpoint}/ckpt-1"
    first, second = sorted(names(donor))
    plan = ckptdoctor.graft(donor, donor, tmp_path / "one", optimizer=first, iterations=3).plan
    assert plan.optimizer.name == first
    assert names(tmp_path / "one") == {**names(donor), first: 3}
    with pytest.raises(GraftRefused, match=f"--optimizer.*{first}.*{second}|{first}, {second}.*--optimizer"):
        ckptdoctor.plan_graft(donor, donor, tmp_path / "two")


def test_the_donors_name_is_kept(museum: Path, tmp_path: Path) -> None:
    """A checkpoint of a model alone gets the optimizer under the attribute that the donor's program has it under."""
    donor, target = museum / "tf/v2.12-tfk-ckpt-adam/ckpt", museum / "tf/v2.15-tfk-ckpt-model_only/ckpt"
    (own,) = names(donor)
    assert ckptdoctor.plan_graft(donor, target, tmp_path / "out").optimizer.name == own
    ckptdoctor.graft(donor, target, tmp_path / "out", optimizer=f"{own}=opti")
    assert names(tmp_path / "out") == {"opti": 7}
    archive = museum / "keras/k3.15tf-uncompiled-keras.keras"
    mapping = {"d1/": "hidden/", "d2/": "out/"}
    plan = ckptdoctor.plan_graft(tmp_path / "out", archive, tmp_path / "o.keras", mapping=mapping)
    assert plan.optimizer.name == "optimizer"
    # The other way round the name is that of nothing in the donor.
    again = ckptdoctor.plan_graft(tmp_path / "out", target, tmp_path / "again")
    assert again.optimizer.name == "opti"


def test_tensorflow_1_into_a_program_of_today(museum: Path, tmp_path: Path) -> None:
    """A Keras 3 model gets an optimizer of Keras 3, and the plan says so; where nothing tells, it is asked for."""
    donor, today = museum / "tf" / MOMENTUM, museum / "tf/v2.21-k3-ckpt-model_only/ckpt"
    plan = ckptdoctor.graft(donor, today, tmp_path / "today", learning_rate=0.01).plan
    assert plan.optimizer.generation is Generation.KERAS3
    assert any("not that of tf.compat.v1" in each for each in plan.warnings)
    assert {slot.factor for slot in plan.optimizer.slots} == {-0.01}
    saved = ckptdoctor.plan_graft(donor, museum / "tf/v2.10-tfk-sm-uncompiled", tmp_path / "o", learning_rate=0.01)
    assert saved.optimizer.generation is Generation.OPTIMIZER_V2
    target = museum / "tf/v2.15-tfk-ckpt-model_only/ckpt"
    with pytest.raises(GraftRefused, match="--as optimizer-v2, keras2 or keras3"):
        ckptdoctor.plan_graft(donor, target, tmp_path / "out")
    with pytest.raises(GraftRefused, match="--learning-rate"):
        ckptdoctor.plan_graft(donor, target, tmp_path / "out", generation="keras2")
    ckptdoctor.graft(donor, target, tmp_path / "out", generation="keras2", learning_rate=0.01)
    assert list(names(tmp_path / "out").values()) == [7]


def test_tensorflow_1_where_it_has_no_place_for_a_count(museum: Path, tmp_path: Path) -> None:
    """The way out of this refusal is one that leads out."""
    donor, target = museum / "tf" / MOMENTUM, museum / "tf/v2.15-tfk-ckpt-model_only/ckpt"
    for only in ({"slots"}, {"iterations", "slots", "hyperparameters"}):
        with pytest.raises(GraftRefused, match="--as optimizer-v2, keras2 or keras3"):
            ckptdoctor.graft(donor, target, tmp_path / "out", generation="tf1", only=only)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("donor", "target", "options", "says"),
    [
        ("keras/k3.15tf-lion-keras.keras", "keras/k3.15tf-noopt-keras.keras", {}, "compile the target with Lion"),
        (
            "keras/k3.15tf-adamax-keras.keras",
            "tf/v2.21-k3-ckpt-model_only/ckpt",
            {"generation": "keras1", "mapping": {"hidden/": "d1/", "out/": "d2/"}},
            "--as optimizer-v2, keras2 or keras3",
        ),
        ("keras/k3.15tf-multi-h5.h5", "keras/k3.15tf-uncompiled-wh5.weights.h5", {}, "assign the donor's"),
        ("keras/k3.15tf-lion-keras.keras", "keras/k3.15tf-uncompiled-keras.keras", {"generation": "tf1"}, "--as"),
    ],
)
def test_refusals_name_the_way_out(
    museum: Path, tmp_path: Path, donor: str, target: str, options: GraftOptions, says: str
) -> None:
    """Each says what would settle it."""
    with pytest.raises(GraftRefused, match=says):
        ckptdoctor.graft(museum / donor, museum / target, tmp_path / "out", **options)
