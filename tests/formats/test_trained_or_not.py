"""Which variables are trained: yes and no where the configuration says so, else unknown; who lacks slots then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.archives import Groups
from support.archives import model as functional
from support.archives import save as save_archive
from support.whole_models import layer, save, sequential

from ckptdoctor.diagnosis.status import artifact_status, covered, summary, verdict
from ckptdoctor.state import Status, TrainingState

RMS_H5 = {"class_name": "RMSprop", "config": {"learning_rate": 0.001, "rho": 0.9, "decay": 0.0, "epsilon": 1e-07}}
RMS = {"class_name": "RMSprop", "config": {"name": "rms", "learning_rate": 0.01, "loss_scale_factor": None}}
BASE = {"block1/kernel:0": (3, 4), "block1/bias:0": (4,), "block2/kernel:0": (4, 4), "block2/bias:0": (4,)}
TOP: dict[str, dict[str, Any]] = {
    "fc": {"fc/kernel:0": (4, 4), "fc/bias:0": (4,)},
    "out": {"out/kernel:0": (4, 2), "out/bias:0": (2,)},
}
HEAD_STATE = [(4, 4), (4,), (4, 2), (2,)]


def nested(*, inner: bool = True, **config: Any) -> dict[str, Any]:
    """A model whose first layer is a model of two; `inner`: whether those are trainable."""
    base = sequential(layer("block1", trainable=inner), layer("block2", trainable=inner))
    base["config"] |= {"name": "vgg", **config}
    return sequential(base, layer("fc"), layer("out"))


def standalone(tmp_path: Path, config: dict[str, Any], shapes: list[tuple[int, ...]]) -> TrainingState:
    """A file of standalone Keras 2.3, whose slots are known by position only."""
    state = {"RMSprop/iterations:0": np.int64(7)}
    slots = {f"training/RMSprop/accumulator_{index}_1:0": shape for index, shape in enumerate(shapes)}
    groups = {"vgg": BASE, **TOP}
    return save(
        tmp_path / "m.h5", groups, model=config, optimizer=RMS_H5, state={**state, **slots}, version="2.3.1"
    )  # fmt: skip


def trained(state: TrainingState) -> dict[str, bool | None]:
    """Variable → whether it is trained."""
    return {each.path: each.trainable for each in state.variables}


def lacking(state: TrainingState) -> list[str | None]:
    """The variables that lack slots."""
    return [each.variable for each in state.optimizers[0].missing]


def test_a_frozen_container_of_standalone_keras_is_trained(tmp_path: Path) -> None:
    """Its flag is not in the file: what is loaded trains all eight, and takes no state of four."""
    found = standalone(tmp_path, nested(), HEAD_STATE)
    assert set(trained(found).values()) == {True}
    assert covered(found.optimizers[0]) == (4, 8)
    assert artifact_status(found) is Status.PARTIAL
    # A kernel's slot fits block2 and fc, a bias' block1 too: which of these lack their own nothing tells.
    assert sorted(lacking(found), key=str) == [None, None, None, "block1/kernel"]
    assert "4 of 8 variables have no full RMSprop state" in verdict(found)
    assert "3 that nothing tells from others of their shape" in verdict(found)


def test_frozen_layers_are_not_trained(tmp_path: Path) -> None:
    """The same state with the layers' own flags off is complete."""
    found = standalone(tmp_path, nested(inner=False), HEAD_STATE)
    assert artifact_status(found) is Status.COMPLETE
    assert lacking(found) == []
    assert summary(found) == "RMSprop at iteration 7; rms for 4 of 4 variables"


@pytest.mark.parametrize("version", ["2.15.0", "3.15.1"])
def test_unfrozen_in_an_archive(version: str, tmp_path: Path) -> None:
    """Four of eight variables have slots: so it is, whatever the slots are said to be of."""
    base = {"class_name": "Sequential", "config": {"name": "vgg", "layers": [layer("block1"), layer("block2")]}}
    groups: Groups = {
        "layers/sequential/layers/dense": [(3, 4), (4,)],
        "layers/sequential/layers/dense_1": [(4, 4), (4,)],
        "layers/dense": [(4, 4), (4,)],
        "layers/dense_1": [(4, 2), (2,)],
    }
    rate = [np.float32(0.001)] if version.startswith("3") else []
    config = RMS if version.startswith("3") else {**RMS, "config": {"name": "RMSprop", "is_legacy_optimizer": False}}
    groups["optimizer"] = [np.int64(7), *rate, *HEAD_STATE]
    found = save_archive(
        tmp_path, groups, functional(base, layer("fc"), layer("out"), optimizer=config), version=version
    )  # fmt: skip
    assert covered(found.optimizers[0]) == (4, 8)
    assert artifact_status(found) is Status.PARTIAL


CUSTOM = {"scale/gain:0": (4,), "scale/seen:0": (4,)}
ADAM: dict[str, Any] = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.01, "decay": 0.0}}


def adam_state(*names: str) -> dict[str, Any]:
    """OptimizerV2's names of Adam's state for these variables."""
    sizes = {"hidden/kernel": (3, 4), "hidden/bias": (4,), "scale/gain": (4,), "out/kernel": (4, 2), "out/bias": (2,)}
    return {"Adam/iter:0": np.int64(7), **{f"Adam/{each}/{slot}:0": sizes[each] for slot in "mv" for each in names}}


def test_of_a_custom_layer_nothing_is_known(tmp_path: Path) -> None:
    """`add_weight(trainable=False)` leaves no trace: no statement is made of a weight without slots."""
    config = sequential(layer("hidden"), layer("scale", "Custom>Scale"), layer("out"))
    layers: dict[str, Any] = {
        "hidden": {"hidden/kernel:0": (3, 4), "hidden/bias:0": (4,)},
        "scale": CUSTOM,
        "out": {"out/kernel:0": (4, 2), "out/bias:0": (2,)},
    }
    state = adam_state("hidden/kernel", "hidden/bias", "scale/gain", "out/kernel", "out/bias")
    found = save(tmp_path / "m.h5", layers, model=config, optimizer=ADAM, state=state)
    assert trained(found)["scale/seen"] is None
    assert artifact_status(found) is Status.COMPLETE
    assert "1 of 6 variables has no slots, and nothing here says whether they are trained" in verdict(found)
    state = adam_state("hidden/kernel", "scale/gain", "out/kernel", "out/bias")
    found = save(tmp_path / "m.h5", layers, model=config, optimizer=ADAM, state=state)
    assert set(lacking(found)) == {"hidden/bias"}


def around(name: str, class_name: str, inner: str = "hidden") -> dict[str, Any]:
    """A layer around a Dense one."""
    return layer(name, class_name, layer=layer(inner))


@pytest.mark.parametrize(
    ("config", "added"),
    [
        (around("q", "QuantizeWrapper"), {"q/optimizer_step:0": np.int32(5), "q/kernel_min:0": np.float32(0)}),
        (around("q", "QuantizeWrapperV2"), {"q/kernel_max:0": (4,), "q/post_activation_min:0": np.float32(0)}),
        (layer("q", "QuantizeLayer"), {"q/quantize_layer_min:0": np.float32(0), "q/quantize_layer_max:0": (1,)}),
        (
            around("q", "PruneLowMagnitude"),
            {"q/mask:0": (3, 4), "q/threshold:0": np.float32(0), "q/pruning_step:0": np.int64(5)},
        ),
    ],
)
def test_what_model_optimization_adds_is_not_trained(
    config: dict[str, Any], added: dict[str, Any], tmp_path: Path
) -> None:
    """The layer within is trained as it would be without; ranges, masks and steps are not."""
    inside = {} if config["class_name"] == "QuantizeLayer" else {"hidden/kernel:0": (3, 4), "hidden/bias:0": (4,)}
    layers: dict[str, Any] = {"q": {**inside, **added}, "out": {"out/kernel:0": (4, 2), "out/bias:0": (2,)}}
    names = [*(each[:-2] for each in inside), "out/kernel", "out/bias"]
    found = save(
        tmp_path / "m.h5", layers, model=sequential(config, layer("out")), optimizer=ADAM, state=adam_state(*names)
    )  # fmt: skip
    assert {path: flag for path, flag in trained(found).items() if flag is not True} == {
        each[:-2]: False for each in added
    }
    assert artifact_status(found) is Status.COMPLETE
    found = save(
        tmp_path / "m.h5", layers, model=sequential(config, layer("out")), optimizer=ADAM, state=adam_state(*names[1:])
    )  # fmt: skip
    assert set(lacking(found)) == {names[0]}


def test_around_by_somebody_else_is_unknown(tmp_path: Path) -> None:
    """A wrapper that nobody knows may train what it wraps, or not."""
    layers: dict[str, Any] = {
        "q": {"hidden/kernel:0": (3, 4), "hidden/bias:0": (4,), "q/g:0": (4,)},
        "out": {"out/kernel:0": (4, 2), "out/bias:0": (2,)},
    }
    config = sequential(around("q", "Addons>WeightNormalization"), layer("out"))
    found = save(
        tmp_path / "m.h5", layers, model=config, optimizer=ADAM, state=adam_state("out/kernel", "out/bias")
    )  # fmt: skip
    assert set(trained(found).values()) == {None, True}
    assert artifact_status(found) is Status.COMPLETE


@pytest.mark.parametrize("kind", ["i4", "i8", "u1", "?"])
def test_whole_numbers_have_no_gradient(kind: str, tmp_path: Path) -> None:
    """Whatever the layer: a variable of whole numbers is never trained."""
    layers: dict[str, Any] = {"out": {"out/kernel:0": (4, 2), "out/bias:0": (2,), "out/step:0": np.zeros((), kind)}}
    config = sequential(layer("out"))
    state = adam_state("out/kernel", "out/bias")
    found = save(tmp_path / "m.h5", layers, model=config, optimizer=ADAM, state=state)
    assert trained(found)["out/step"] is False
    assert artifact_status(found) is Status.COMPLETE
