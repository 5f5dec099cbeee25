"""What the optimizer of a result is configured with, and what is refused because nothing tells it: real artifacts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import ckptdoctor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.state import OptimizerState, Role

LAYERS = {"d1/": "hidden/", "d2/": "out/"}
"""The checkpoints' names of the layers, and those of the Keras files."""


def optimizer_of(path: Path) -> OptimizerState:
    """The one optimizer of an artifact."""
    (artifact,) = ckptdoctor.inspect(path)
    (found,) = artifact.optimizers
    return found


def compiled(path: Path) -> dict[str, Any]:
    """The optimizer's configuration in a `.keras` archive."""
    with zipfile.ZipFile(path) as archive:
        config: dict[str, Any] = json.loads(archive.read("config.json"))["compile_config"]["optimizer"]["config"]
    return config


@pytest.mark.parametrize("donor", ["v2.10-tfk-ckpt-lr_schedule", "v2.12-tfk-ckpt-legacy_lr_schedule"])
def test_a_schedule_of_every_generation(museum: Path, tmp_path: Path, donor: str) -> None:
    """A legacy checkpoint without a stored rate had a schedule: Keras 3 then keeps no rate, and the plan says so."""
    source = museum / f"tf/{donor}/ckpt"
    into = {
        "out": museum / "tf/v2.21-k3-ckpt-model_only/ckpt",
        "out.weights.h5": museum / "keras/k3.15tf-uncompiled-wh5.weights.h5",
    }
    for name, target in into.items():
        mapping = {} if name == "out" else LAYERS
        receipt = ckptdoctor.graft(source, target, tmp_path / name, generation="keras3", mapping=mapping)
        assert receipt.plan.optimizer.settings.flags == {"schedule"}
        assert any("a schedule sets the learning rate" in each for each in receipt.plan.warnings)
        made = optimizer_of(tmp_path / name)
        assert (made.class_name, made.iterations, len(made.slots)) == ("Adam", 7, 8)
        assert "learning_rate" not in {each.name.lstrip("_") for each in made.other}


def test_the_rate_that_a_schedule_gave_last(museum: Path, tmp_path: Path) -> None:
    """`current_learning_rate` follows from the schedule: it is no hyperparameter, and stands in nobody's way."""
    donor = museum / "tf/v2.13-tfk-ckpt-lr_schedule/ckpt"
    target = museum / "keras/k3.15tf-noopt-keras.keras"
    plan = ckptdoctor.graft(donor, target, tmp_path / "out.keras", mapping=LAYERS).plan
    assert any("the target's constant rate stays" in each for each in plan.warnings)
    assert optimizer_of(tmp_path / "out.keras").iterations == 7
    with pytest.raises(GraftRefused, match=r"learning-rate schedule that nothing tells.*compile the target"):
        ckptdoctor.plan_graft(donor, museum / "keras/k3.15tf-uncompiled-keras.keras", tmp_path / "o", mapping=LAYERS)


def test_a_rate_by_hand(museum: Path, tmp_path: Path) -> None:
    """`learning_rate` takes the place of a schedule that nobody can name."""
    donor, target = museum / "tf/v2.13-tfk-ckpt-lr_schedule/ckpt", museum / "keras/k3.15tf-uncompiled-keras.keras"
    ckptdoctor.graft(donor, target, tmp_path / "out.keras", mapping=LAYERS, learning_rate=0.25)
    assert optimizer_of(tmp_path / "out.keras").hyperparameters["learning_rate"] == 0.25


def test_momentum_that_nothing_tells(museum: Path, tmp_path: Path) -> None:
    """Momenta show that there is a momentum, not which: an uncompiled target would get 0.0, and lose them."""
    donor, target = museum / "tf/v2.16-k3-ckpt-sgd_momentum/ckpt", museum / "keras/k3.15tf-uncompiled-keras.keras"
    with pytest.raises(GraftRefused, match=r"a momentum that nothing tells.*compile the target"):
        ckptdoctor.plan_graft(donor, target, tmp_path / "out.keras", mapping=LAYERS)
    compiled_target = museum / "keras/k3.15tf-sgd_momentum-keras.keras"
    ckptdoctor.graft(donor, compiled_target, tmp_path / "out.keras", mapping=LAYERS)
    assert compiled(tmp_path / "out.keras")["momentum"] == 0.9


def test_what_state_proves_is_configured(museum: Path, tmp_path: Path) -> None:
    """A maximum of second moments means amsgrad, averages of the weights mean use_ema: the configuration says so."""
    target = museum / "keras/k3.15tf-uncompiled-keras.keras"
    for donor, flag in (("v2.13-tfk-ckpt-adam_amsgrad", "amsgrad"), ("v2.13-tfk-ckpt-ema", "use_ema")):
        output = tmp_path / f"{flag}.keras"
        ckptdoctor.graft(museum / f"tf/{donor}/ckpt", target, output, mapping=LAYERS)
        assert compiled(output)[flag] is True
        assert len(optimizer_of(output).slots) == 12


def test_defaults_are_named(museum: Path, tmp_path: Path) -> None:
    """What the donor does not record and the configuration says all the same is named, each with its value."""
    target = museum / "keras/k3.15tf-uncompiled-keras.keras"
    plan = ckptdoctor.plan_graft(museum / "tf/v2.12-tfk-ckpt-adam/ckpt", target, tmp_path / "o.keras", mapping=LAYERS)
    (said,) = [each for each in plan.warnings if "nothing tells these" in each]
    assert "beta_1 0.9, beta_2 0.999, epsilon 1e-07" in said
    assert "weight_decay unset" in said
    assert "learning_rate" not in said
    legacy = ckptdoctor.plan_graft(museum / "tf/v2.10-tfk-ckpt-adam/ckpt", target, tmp_path / "o.keras", mapping=LAYERS)
    (said,) = [each for each in legacy.warnings if "nothing tells these" in each]
    assert "epsilon" in said
    assert not {"beta_1", "weight_decay"} & set(said.replace(",", " ").split())
    recorded = ckptdoctor.plan_graft(museum / "keras/k3.15tf-lion-keras.keras", target, tmp_path / "o.keras")
    assert not [each for each in recorded.warnings if "nothing tells these" in each]


@pytest.mark.parametrize("donor", ["k3.15tf-adamax-keras.keras", "k3.15tf-ftrl-keras.keras"])
def test_a_class_that_is_a_guess(museum: Path, tmp_path: Path, donor: str) -> None:
    """Weights name no class: it is not written down as a fact, and the user's word is read as it should be."""
    whole, weights = museum / "keras" / donor, tmp_path / "donor.weights.h5"
    ckptdoctor.graft(whole, museum / "keras/k3.15tf-uncompiled-wh5.weights.h5", weights)
    target = museum / "keras/k3.15tf-uncompiled-keras.keras"
    with pytest.raises(GraftRefused, match=r"its state fits Adam, .*--optimizer-class"):
        ckptdoctor.plan_graft(weights, target, tmp_path / "out.keras")
    recorded = optimizer_of(whole)
    ckptdoctor.graft(weights, target, tmp_path / "out.keras", optimizer_class=recorded.class_name)
    made = optimizer_of(tmp_path / "out.keras")
    assert made.class_name == recorded.class_name
    assert {slot.role for slot in made.slots} == {slot.role for slot in recorded.slots}
    with pytest.raises(GraftRefused, match="not SGD"):
        ckptdoctor.plan_graft(weights, target, tmp_path / "o", optimizer_class="SGD")
    # The target that records the class settles it as well.
    ckptdoctor.graft(weights, whole, tmp_path / "own.keras")
    assert optimizer_of(tmp_path / "own.keras").class_name == recorded.class_name


def test_a_list_names_no_class(museum: Path, tmp_path: Path) -> None:
    """A dump without a class, into a model that was never compiled: the class is asked for."""
    donor, target = museum / "keras/k3.15jax-adam-vars.npz", museum / "keras/k3.15tf-uncompiled-keras.keras"
    with pytest.raises(GraftRefused, match="--optimizer-class"):
        ckptdoctor.plan_graft(donor, target, tmp_path / "out.keras")
    plan = ckptdoctor.plan_graft(donor, target, tmp_path / "out.keras", optimizer_class="Adam")
    assert any("nothing tells these" in each for each in plan.warnings)


@pytest.mark.parametrize(
    "donor", ["lion", "adadelta", "adamax", "ftrl", "rmsprop_momentum", "sgd_momentum_ema", "adam_amsgrad"]
)
def test_weights_alone_take_every_class(museum: Path, tmp_path: Path, donor: str) -> None:
    """The result is read back by its places: what its shapes would be taken for does not matter."""
    whole = museum / f"keras/k3.15tf-{donor}-keras.keras"
    output = tmp_path / "out.weights.h5"
    receipt = ckptdoctor.graft(whole, museum / "keras/k3.15tf-uncompiled-wh5.weights.h5", output)
    assert receipt.plan.optimizer.class_name == optimizer_of(whole).class_name
    assert optimizer_of(output).iterations == 7
    # Nor does it where such weights are the target: the donor knows what its state is.
    again = ckptdoctor.graft(whole, output, tmp_path / "again.weights.h5").plan.optimizer
    assert again.settings == receipt.plan.optimizer.settings
    counted = ckptdoctor.graft(whole, output, tmp_path / "counted.weights.h5", only="iterations", iterations=3)
    assert counted.plan.optimizer.iterations == 3


def test_weights_of_an_optimizer_that_was_never_built(museum: Path, tmp_path: Path) -> None:
    """A count and a rate are no class: the donor's settings hold."""
    import h5py
    import numpy as np

    whole, target = museum / "keras/k3.15tf-sgd_momentum-keras.keras", tmp_path / "target.weights.h5"
    target.write_bytes((museum / "keras/k3.15tf-uncompiled-wh5.weights.h5").read_bytes())
    with h5py.File(str(target), "a") as file:
        group = file.create_group("optimizer/vars")
        group.attrs["name"] = "sgd"
        group.create_dataset("0", data=np.array(0))
        group.create_dataset("1", data=np.array(0.5, "float32"))
    plan = ckptdoctor.graft(whole, target, tmp_path / "out.weights.h5").plan
    assert plan.optimizer.class_name == "SGD"
    assert {slot.kind.role for slot in plan.optimizer.slots} == {Role.MOMENTUM}
    assert optimizer_of(tmp_path / "out.weights.h5").iterations == 7


def test_weights_that_either_keras_may_have_written(museum: Path, tmp_path: Path) -> None:
    """The lists of Keras 3 and tf_keras differ, and a file without labels tells neither: it is asked for."""
    donor = museum / "tf/v2.16-k3-ckpt-sgd_momentum/ckpt"
    target = museum / "keras/tfk2.21-legacy_adam-wh5.weights.h5"
    mapping = {"d1/": "dense/", "d2/": "dense_1/"}
    with pytest.raises(GraftRefused, match="--as keras3 or --as keras2"):
        ckptdoctor.plan_graft(donor, target, tmp_path / "o", mapping=mapping)
    output = tmp_path / "out.weights.h5"
    plan = ckptdoctor.graft(donor, target, output, mapping=mapping, generation="keras2").plan
    assert [each.kind.name for each in plan.optimizer.slots] == ["m"] * 4
    assert not optimizer_of(output).other


@pytest.mark.parametrize("rate", ["1" + "0" * 4000, "-1e308", "NaN"], ids=["huge", "negative", "nan"])
def test_a_rate_that_no_number_can_hold(museum: Path, tmp_path: Path, rate: str) -> None:
    """A hostile learning rate is refused in one sentence, and may be set by hand."""
    whole, donor = museum / "keras/k3.15tf-sgd_momentum-keras.keras", tmp_path / "donor.keras"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(donor, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["compile_config"]["optimizer"]["config"]["learning_rate"] = "RATE"
                data = json.dumps(config).replace('"RATE"', rate).encode()
            copy.writestr(name, data)
    target = museum / "keras/k3.15tf-uncompiled-keras.keras"
    with pytest.raises(GraftRefused, match=r"the learning rate is .*--learning-rate"):
        ckptdoctor.graft(donor, target, tmp_path / "out.keras")
    ckptdoctor.graft(donor, target, tmp_path / "out.keras", learning_rate=0.5)
    assert compiled(tmp_path / "out.keras")["learning_rate"] == 0.5
