"""No slot is lost silently: it is planned, left behind for a reason that is said, or the graft is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import ckptdoctor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.state import Generation


def slots(path: Path) -> list[tuple[int, ...]]:
    """Shapes of all the slots of an artifact's one optimizer."""
    state = ckptdoctor.inspect(path)[0].state
    assert state is not None
    return [slot.tensor.shape for slot in state.optimizers[0].slots]


def dump(path: Path) -> list[np.ndarray]:
    """The arrays of a dump that a test wrote."""
    with path.open("rb") as file:
        return [np.asarray(each) for each in pickle.load(file)]


def adam_list(count: int = 7, shapes: tuple[tuple[int, ...], ...] = ((3, 4), (4,), (4, 2), (2,))) -> list[np.ndarray]:
    """What Keras 3's Adam keeps for variables of these shapes."""
    random = np.random.default_rng(5)
    found = [np.array(count), np.array(0.01, "float32")]
    for shape in shapes:
        found += [random.normal(size=shape).astype("float32"), random.random(shape).astype("float32")]
    return found


def write(path: Path, listed: list[np.ndarray]) -> Path:
    """Writes a dump."""
    path.write_bytes(pickle.dumps(listed))
    return path


def test_a_count_by_hand_keeps_the_slots_of_a_dump(tmp_path: Path) -> None:
    """A list names no variables: its slots stay in their places, and only the count changes."""
    source = write(tmp_path / "in.pkl", adam_list())
    ckptdoctor.graft(None, source, tmp_path / "out.pkl", iterations=3)
    before, after = dump(source), dump(tmp_path / "out.pkl")
    assert int(after[0]) == 3
    assert len(before) == len(after)
    assert all(np.array_equal(one, other) for one, other in zip(before[1:], after[1:], strict=True))


@pytest.mark.parametrize(
    "name", ["k3.15tf-adafactor-vars.pkl", "tf2.15-adafactor-vars.pkl", "tf2.3-adam_amsgrad-getw.pkl"]
)
def test_a_count_by_hand_keeps_the_slots_of_real_dumps(museum: Path, tmp_path: Path, name: str) -> None:
    """Also where variables have slots of other shapes than their own."""
    source = museum / "keras" / name
    ckptdoctor.graft(None, source, tmp_path / "out.pkl", iterations=3)
    assert slots(tmp_path / "out.pkl") == slots(source)


def test_a_dump_goes_into_a_dump_by_place_and_shape(tmp_path: Path) -> None:
    """Lists of the same variables are filled place by place; those of others are refused."""
    donor = write(tmp_path / "donor.pkl", adam_list())
    target = write(tmp_path / "target.pkl", [np.zeros_like(each) for each in adam_list()])
    receipt = ckptdoctor.graft(donor, target, tmp_path / "out.pkl")
    assert {slot.matched for slot in receipt.plan.optimizer.slots} == {"order"}
    assert all(np.array_equal(a, b) for a, b in zip(dump(donor), dump(tmp_path / "out.pkl"), strict=True))
    other = write(tmp_path / "other.pkl", adam_list(shapes=((3, 4), (4,))))
    with pytest.raises(GraftRefused, match="their places are not the same"):
        ckptdoctor.graft(other, target, tmp_path / "never.pkl")
    assert not (tmp_path / "never.pkl").exists()


def test_a_donor_that_lost_its_slots_is_refused(museum: Path, fixtures_dir: Path, tmp_path: Path) -> None:
    """An optimizer saved without its model keeps a count and no slots: zeros would pass for state."""
    donor, target = museum / "tf/v2.10-tfk-ckpt-optimizer_only/ckpt", fixtures_dir / "run-a/ckpt-7"
    with pytest.raises(GraftRefused, match=r"iteration 7 and holds no slots.*--only iterations.*--partial"):
        ckptdoctor.graft(donor, target, tmp_path / "out")
    kept = ckptdoctor.graft(donor, target, tmp_path / "count", only="iterations")
    assert all(slot.source is not None for slot in kept.plan.optimizer.slots)
    partial = ckptdoctor.plan_graft(donor, target, tmp_path / "out", partial=True)
    assert {name for name, _ in partial.unmatched} == set(partial.optimizer.trained)


@pytest.mark.parametrize(
    ("donor", "generation", "says"),
    [
        ("k3.15tf-adam_amsgrad-keras.keras", "tf1", "velocity_hat of .* would be lost: Adam of TensorFlow 1"),
        ("k3.15jax-adam_ema-keras.keras", "optimizer-v2", "average of .* would be lost"),
    ],
)
def test_state_that_a_generation_has_no_place_for_is_refused(
    museum: Path, tmp_path: Path, donor: str, generation: Generation, says: str
) -> None:
    """AMSGrad's maximum or a moving average does not vanish on the way to a generation without it."""
    chosen = museum / "tf/v2.18-k3-ckpt-model_only/ckpt"
    with pytest.raises(GraftRefused, match=says):
        ckptdoctor.plan_graft(museum / "keras" / donor, chosen, tmp_path / "out", generation=generation)
    plan = ckptdoctor.plan_graft(
        museum / "keras" / donor, chosen, tmp_path / "out", generation=generation, partial=True
    )
    assert plan.unused
    assert all("has no place for it" in each.reason for each in plan.unused)
    assert any("left behind" in warning for warning in plan.warnings)


def test_two_optimizers_of_one_class_are_not_mixed(museum: Path, tmp_path: Path) -> None:
    """TensorFlow 1 numbers the slots of two Adams through: nothing tells them apart."""
    donor, target = museum / "tf/v1.12-tf1-two_adams/model.ckpt", museum / "tf/v2.3-tf1-adam/model.ckpt-7"
    with pytest.raises(GraftRefused, match="first moment of net/d1/bias 2 times"):
        ckptdoctor.graft(donor, target, tmp_path / "out")


def test_a_target_without_variables_to_train_is_refused(museum: Path, fixtures_dir: Path, tmp_path: Path) -> None:
    """All layers are frozen: no slot has a place, and the reason is said."""
    with pytest.raises(GraftRefused, match="every layer of the target is frozen"):
        ckptdoctor.graft(
            fixtures_dir / "keras3.keras", museum / "keras/k3.15tf-allfrozen-keras.keras", tmp_path / "out.keras"
        )
