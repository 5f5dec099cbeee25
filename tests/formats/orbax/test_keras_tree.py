"""Keras' trees: variables, the optimizer by its names, and the configuration beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.examination import Examination, examine
from ckptdoctor.state import Status


def _one(path: Path) -> Examination:
    (found,) = examine(str(path))
    assert found.error is None, found.error
    return found


@pytest.fixture
def case(museum: Path) -> Callable[[str], Examination]:
    """An artifact of Keras 3.15 on JAX."""
    return lambda name: _one(museum / "orbax-keras3.15-jax" / name)


def test_configuration(case: Callable[[str], Examination]) -> None:
    """Class, settings and schedule are those of compile()."""
    (optimizer,) = case("functional").optimizers
    assert (optimizer.class_name, optimizer.class_inferred) == ("AdamW", False)
    assert optimizer.hyperparameters["weight_decay"] == 0.01
    (scheduled,) = case("schedule").optimizers
    assert scheduled.schedule is not None
    assert scheduled.schedule.class_name == "ExponentialDecay"
    assert scheduled.schedule.learning_rate == pytest.approx(0.05 * 0.9 ** (7 / 5))
    assert not scheduled.other


def test_wrappers(case: Callable[[str], Examination], museum: Path) -> None:
    """The inner optimizer is reported, wherever its slots are; compile() wraps without telling the configuration."""
    inside = _one(museum / "orbax-keras3.15-tf" / "lossscale")
    for found, configured in ((case("lossscale"), True), (inside, True), (case("mixed_f16"), False)):
        (optimizer,) = found.optimizers
        assert (optimizer.class_name, optimizer.iterations, len(optimizer.slots)) == ("Adam", 7, 8)
        assert optimizer.wrapper is not None
        assert (optimizer.wrapper.loss_scale is not None, optimizer.wrapper.configured) == (True, configured)
        assert {each.name for each in optimizer.wrapper.variables} == {
            "iteration", "learning_rate", "step_counter", "dynamic_scale",
        }  # fmt: skip


def test_kinds_of_state(case: Callable[[str], Examination]) -> None:
    """Averages, accumulated gradients, Nadam's product, frozen variables, weights alone."""
    (averaged,) = case("ema").optimizers
    assert {each.name for each in averaged.slots} == {"momentum", "velocity", "average"}
    (accumulating,) = case("gradaccum").optimizers
    assert (accumulating.iterations, accumulating.iterations_reported) == (7, 3)
    (nadam,) = case("nadam").optimizers
    assert {each.name for each in nadam.other} == {"learning_rate", "u_product"}
    frozen = case("frozen")
    assert frozen.status is Status.COMPLETE
    assert sum(each.trainable is False for each in frozen.state.variables) == 2  # type: ignore[union-attr]
    alone = case("weights_only")
    assert (alone.status, alone.optimizers) == (Status.ABSENT, ())


def test_without_a_configuration(museum: Path) -> None:
    """The optimizer's own name tells what its slots do not; 3.13 writes no configuration."""
    for name, expected in (("functional", "AdamW"), ("sequential", "Adam"), ("lossscale", "Adam")):
        (optimizer,) = _one(museum / "orbax-keras3.13-jax" / name).optimizers
        assert (optimizer.class_name, optimizer.class_inferred, optimizer.class_candidates) == (expected, True, ())


def test_a_name_of_the_users_own(museum: Path, tmp_path: Path) -> None:
    """It is no class: of those that fit, the most common is named and the others are candidates."""
    run = Path(shutil.copytree(museum / "orbax-keras3.15-jax" / "amsgrad", tmp_path / "run"))
    shutil.rmtree(run / "0" / "model_config")
    (optimizer,) = _one(run).optimizers
    assert optimizer.class_name == "Adam"
    assert "AdamW" in optimizer.class_candidates
    assert {each.name for each in optimizer.slots} == {"momentum", "velocity", "velocity_hat"}


def test_what_load_model_loses(case: Callable[[str], Examination], museum: Path) -> None:
    """New weights in silence are an error; a functional model is restored, and a nested one in part."""
    for name in ("sequential", "subclass", "nested"):
        (told,) = [each for each in case(name).findings if each.code == "L002"]
        assert (told.severity, "new weights and zero slots" in told.message) == (Severity.ERROR, True)
        assert "model.load_weights(DIR)" in told.hint
    nested = case("nested").state
    assert nested is not None
    assert {each.path for each in nested.variables if each.aliases} == {"inner/hidden/kernel", "inner/hidden/bias"}
    assert "L002" not in {each.code for each in case("functional").findings}
    inside = _one(museum / "orbax-keras3.15-tf" / "lossscale")
    (told,) = [each for each in inside.findings if each.code == "L002"]
    assert (told.severity, "graft" in told.hint) == (Severity.WARNING, True)


def test_lost_slots(museum: Path, tmp_path: Path) -> None:
    """A slot that the tree lacks is missing by its variable."""
    run = Path(shutil.copytree(museum / "orbax-keras3.15-jax" / "functional" / "2", tmp_path / "2"))
    tree = run / "pytree" / "_METADATA"
    fields = json.loads(tree.read_text())
    gone = "('optimizer_variables', 'adamw', 'hidden_kernel_velocity')".replace("adamw", "adam_w")
    del fields["tree_metadata"][gone]
    tree.write_text(json.dumps(fields))
    found = _one(run)
    (optimizer,) = found.optimizers
    assert [(each.name, each.variable) for each in optimizer.missing] == [("velocity", "hidden/kernel")]
    assert found.status is Status.PARTIAL


def test_an_array_that_is_not_there(museum: Path, tmp_path: Path) -> None:
    """A leaf of the tree without its array is lost, and said to be."""
    run = Path(shutil.copytree(museum / "orbax-keras3.15-jax" / "functional" / "2", tmp_path / "2"))
    tree = run / "pytree" / "_METADATA"
    tree.write_text(tree.read_text().replace("hidden_kernel_velocity", "hidden_kernel_velocitx"))
    found = _one(run)
    assert "I002" in {each.code for each in found.findings}
    assert found.status is Status.PARTIAL
