"""The comparison of what a framework holds with what an artifact holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import Generation, OptimizerState, Role, Slot
from ckptdoctor.verification import compare
from ckptdoctor.verification.child import snapshot
from ckptdoctor.verification.digests import digest
from ckptdoctor.verification.request import Wanted
from ckptdoctor.verification.results import Outcome
from ckptdoctor.verification.trained import Expected, Trained

VALUES = {
    ("momentum", "a/kernel"): np.array([[1, 2], [3, 4]], np.float32),
    ("momentum", "b/kernel"): np.array([[5, 6], [7, 8]], np.float32),
}


def ref(key: str, array: np.ndarray[Any, Any]) -> TensorRef:
    """A tensor that holds an array."""
    return TensorRef(key, array.dtype.name, array.shape, Inline(array.tobytes()))


def wanted(iterations: int | None = 7, rate: object = 0.5) -> Wanted:
    """An SGD with momentum over two kernels of one shape."""
    slots = [
        Slot(name, Role.MOMENTUM, variable, ref(f"{variable}/{name}", array))
        for (name, variable), array in VALUES.items()
    ]
    return Wanted(
        OptimizerState(
            "optimizer",
            "SGD",
            Generation.KERAS3,
            iterations=iterations,
            slots=tuple(slots),
            hyperparameters={"learning_rate": rate},
        ),
        [Trained(name, (name,), (2, 2), "float32") for name in ("a/kernel", "b/kernel")],
        [Expected(slot, str(slot.variable)) for slot in slots],
        {slot.tensor: digest(slot.tensor) for slot in slots},
    )


def held(folder: Path, arrays: list[Any], **more: Any) -> dict[str, Any]:
    """What a framework answers whose i-th variable has the i-th array for its momentum."""
    store = snapshot.Store({"folder": str(folder), "expected": [{"slots": list(wanted().digests.values())}]})
    return {
        "iterations": 7,
        "learning_rate": 0.5,
        "class_name": "SGD",
        "generation": "keras3",
        "variables": [{"path": "a/kernel", "shape": [2, 2]}, {"path": "b/kernel", "shape": [2, 2]}],
        "slots": [
            dict(store.describe(np.asarray(array)), attribute="momentums", variable=index)
            for index, array in enumerate(arrays)
        ],
        **more,
    }


def test_all_restored(tmp_path: Path) -> None:
    """Equal arrays are restored, and none of them travels."""
    found = compare.optimizer(wanted(), held(tmp_path, list(VALUES.values())), str(tmp_path))
    assert found.ok
    assert [slot.outcome for slot in found.slots] == [Outcome.RESTORED, Outcome.RESTORED]
    assert list(tmp_path.iterdir()) == []


def test_fresh_slots_are_dropped(tmp_path: Path) -> None:
    """A slot of zeros, and one that does not exist, were dropped."""
    found = compare.optimizer(wanted(), held(tmp_path, [np.zeros((2, 2), np.float32)]), str(tmp_path))
    assert not found.ok
    assert [(slot.outcome, slot.detail) for slot in found.slots] == [
        (Outcome.DROPPED, "all 0"),
        (Outcome.DROPPED, "the framework made none"),
    ]


def test_a_slot_of_zeros_that_is_zeros_is_restored(tmp_path: Path) -> None:
    """What the artifact holds decides: zeros may be right."""
    ours = wanted()
    zeros = ref("zeros", np.zeros((2, 2), np.float32))
    slot = ours.slots[0].slot._replace(tensor=zeros)
    ours = ours._replace(slots=[Expected(slot, "a/kernel")], digests={zeros: digest(zeros)})
    found = compare.optimizer(ours, held(tmp_path, [np.zeros((2, 2), np.float32)]), str(tmp_path))
    assert found.slots[0].outcome is Outcome.RESTORED


def test_a_change_is_measured(tmp_path: Path) -> None:
    """Another value is changed, with the largest absolute difference."""
    first, second = VALUES.values()
    found = compare.optimizer(wanted(), held(tmp_path, [first, second + np.float32(0.5)]), str(tmp_path))
    assert [slot.outcome for slot in found.slots] == [Outcome.RESTORED, Outcome.CHANGED]
    assert found.slots[1].max_difference == pytest.approx(0.5)


def test_a_change_of_type_may_round(tmp_path: Path) -> None:
    """A framework that casts restores, as long as the values agree to 1e-7."""
    first, second = (array.astype(np.float64) * (1 + 3e-8) for array in VALUES.values())
    assert compare.optimizer(wanted(), held(tmp_path, [first, second]), str(tmp_path)).ok
    assert not compare.optimizer(wanted(), held(tmp_path, [first, second * (1 + 1e-6)]), str(tmp_path)).ok


def test_an_exchange_is_named(tmp_path: Path) -> None:
    """Slots of equal shape that landed on each other's variables are changed, and it is said whose they are."""
    found = compare.optimizer(wanted(), held(tmp_path, list(reversed(VALUES.values()))), str(tmp_path))
    assert [slot.detail for slot in found.slots] == ["it holds momentum of b/kernel", "it holds momentum of a/kernel"]
    assert all(slot.outcome is Outcome.CHANGED and slot.max_difference == 4 for slot in found.slots)


def test_another_shape_is_changed(tmp_path: Path) -> None:
    """Shapes that differ are said."""
    found = compare.optimizer(wanted(), held(tmp_path, [np.ones(3, np.float32)]), str(tmp_path))
    assert (found.slots[0].outcome, found.slots[0].detail) == (Outcome.CHANGED, "its shape is 3 there")


def test_without_an_optimizer_everything_is_dropped(tmp_path: Path) -> None:
    """A model that comes without its optimizer has lost all of it."""
    found = compare.optimizer(wanted(), None, str(tmp_path))
    assert found.iterations.outcome is Outcome.DROPPED
    assert found.learning_rate.outcome is Outcome.DROPPED
    assert found.count(Outcome.DROPPED) == 2


@pytest.mark.parametrize(
    ("expected", "found", "outcome"),
    [
        (None, 0, Outcome.ABSENT),
        (7, 7, Outcome.RESTORED),
        (0, 0, Outcome.RESTORED),
        (7, 0, Outcome.DROPPED),
        (7, None, Outcome.DROPPED),
        (7, 3, Outcome.CHANGED),
    ],
)
def test_iterations(expected: int | None, found: int | None, outcome: Outcome) -> None:
    """A count is restored, started anew, or another."""
    assert compare.iterations(expected, found).outcome is outcome


@pytest.mark.parametrize(
    ("expected", "found", "initial", "outcome"),
    [
        (None, 0.5, 0.5, Outcome.ABSENT),
        (0.01, 0.009999999776482582, None, Outcome.RESTORED),
        (0.01, 0.5, 0.5, Outcome.DROPPED),
        (0.01, 0.02, None, Outcome.CHANGED),
        (0.01, None, None, Outcome.DROPPED),
    ],
)
def test_learning_rate(expected: float | None, found: float | None, initial: float | None, outcome: Outcome) -> None:
    """A rate may have been rounded to float32."""
    assert compare.learning_rate(expected, found, initial).outcome is outcome


def variables(*named: tuple[str, tuple[int, ...]]) -> list[Any]:
    """A framework's variables."""
    return [{"path": path, "shape": list(shape)} for path, shape in named]


def trained(*named: tuple[str, tuple[int, ...]]) -> list[Trained]:
    """An artifact's variables."""
    return [Trained(path, (path,), shape, "float32") for path, shape in named]


def test_variables_are_matched_by_name_before_order() -> None:
    """Names decide, whatever the order and whichever of the two has a prefix or an output number."""
    ours = trained(("m/a/kernel", (2, 2)), ("b/kernel", (2, 2)))
    theirs = variables(("model/b/kernel:0", (2, 2)), ("a/kernel:0", (2, 2)))
    assert compare.matched(ours, theirs, given=False) == {"m/a/kernel": 1, "b/kernel": 0}


def test_variables_are_matched_by_order_where_names_differ() -> None:
    """Else order decides, if all shapes agree."""
    ours = trained(("x", (2, 2)), ("y", (3,)))
    assert compare.matched(ours, variables(("p", (2, 2)), ("q", (3,))), given=False) == {"x": 0, "y": 1}


def test_variables_that_no_name_and_no_shape_tells_are_not_matched() -> None:
    """Nothing is guessed: one that only its shape fits is taken, several are not."""
    ours = trained(("x", (2, 2)), ("y", (3,)), ("z", (2, 2)))
    assert compare.matched(ours, variables(("p", (3,)), ("q", (2, 2)), ("r", (2, 2)), ("s", (2, 2))), given=False) == {
        "y": 0
    }
