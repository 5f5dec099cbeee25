"""Keras optimizers in name-based checkpoints: through a Saver, and in the Estimators of TensorFlow 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundles import Tensor, array, write_bundle, zeros

from ckptdoctor.formats.tensorflow import checkpoint as tf_checkpoint
from ckptdoctor.state import Generation, TrainingState

KERNEL, BIAS = (3, 4), (4,)
MODEL = {"net/d1/kernel": zeros(KERNEL), "net/d1/bias": zeros(BIAS)}
STEP = {"global_step": array(7, "int64")}


def _read(tmp_path: Path, tensors: dict[str, Tensor]) -> TrainingState:
    return tf_checkpoint.read(write_bundle(tmp_path / "model.ckpt-7", tensors))


@pytest.mark.parametrize(
    ("names", "generation"),
    [
        (["Adam/net/d1/kernel/m", "Adam/net/d1/kernel/v"], Generation.OPTIMIZER_V2),
        (["Adam/m/net/d1/kernel", "Adam/v/net/d1/kernel"], Generation.KERAS2),
    ],
)
def test_keras_optimizers_in_a_saver(tmp_path: Path, names: list[str], generation: Generation) -> None:
    """A Keras optimizer that went through a Saver keeps its own names."""
    tensors = {**MODEL, **{name: zeros(KERNEL) for name in names}}
    tensors |= {"Adam/iter": array(7, "int64"), "Adam/learning_rate": array(0.001)}
    state = _read(tmp_path, tensors)
    (found,) = state.optimizers
    assert (found.class_name, found.iterations, found.generation) == ("Adam", 7, generation)
    assert [(slot.name, slot.variable) for slot in found.slots] == [("m", "net/d1/kernel"), ("v", "net/d1/kernel")]
    assert found.hyperparameters == {"learning_rate": pytest.approx(0.001)}


@pytest.mark.parametrize(
    ("name", "kinds", "scalars"),
    [
        ("Ftrl", ("accumulator", "linear"), ("learning_rate", "learning_rate_power", "l1_regularization_strength")),
        ("Adagrad", ("accumulator",), ("learning_rate",)),
        ("Adam", ("m", "v", "vhat"), ("learning_rate", "beta_1", "beta_2")),
        ("RMSprop", ("rms", "momentum", "mg"), ("learning_rate", "rho", "momentum")),
        ("Adadelta", ("accum_grad", "accum_var"), ("learning_rate", "rho")),
        ("Nadam", ("m", "v"), ("beta_1", "beta_2", "momentum_cache")),
        ("SGD", (), ("learning_rate", "momentum")),
    ],
)
def test_estimators_of_tensorflow_2(
    tmp_path: Path, name: str, kinds: tuple[str, ...], scalars: tuple[str, ...]
) -> None:
    """Canned Estimators name Keras' slots after `training/`, and count by the global step."""
    own = {f"training/{name}/{each}": array(0.1) for each in (*scalars, "decay")}
    slots = {f"training/{name}/{path}/{kind}": each for path, each in MODEL.items() for kind in kinds}
    state = _read(tmp_path, MODEL | own | slots | STEP)
    (found,) = state.optimizers
    assert (found.class_name, found.generation) == (name, Generation.OPTIMIZER_V2)
    assert (found.iterations, found.iterations_key) == (7, "global_step")
    assert {slot.tensor.key for slot in found.slots} == set(slots)
    assert {each.path for each in state.variables} == set(MODEL)
    assert {each.tensor.key for each in found.other} == set(own)


def test_two_keras_optimizers(tmp_path: Path) -> None:
    """A wide-and-deep Estimator has two: one counts by itself, the other by the global step."""
    tensors = {"linear/w": zeros((5,)), "dnn/kernel": zeros(KERNEL), "training/Ftrl/iter": array(9, "int64")}
    tensors |= {
        f"training/{each}/{name}": array(0.1) for each in ("Ftrl", "Adagrad") for name in ("decay", "learning_rate")
    }
    tensors |= {f"training/Ftrl/linear/w/{kind}": zeros((5,)) for kind in ("accumulator", "linear")}
    tensors["training/Adagrad/dnn/kernel/accumulator"] = zeros(KERNEL)
    state = _read(tmp_path, tensors | STEP)
    assert {each.class_name: (each.iterations, len(each.slots)) for each in state.optimizers} == {
        "Ftrl": (9, 2), "Adagrad": (7, 1),
    }  # fmt: skip


def test_a_variable_called_decay(tmp_path: Path) -> None:
    """A scalar of the model whose name ends so makes no optimizer."""
    state = _read(tmp_path, {**MODEL, "layer/decay": array(0.9)})
    assert not state.optimizers
    assert "layer/decay" in {each.path for each in state.variables}
