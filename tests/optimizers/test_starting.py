"""What slots begin with; tests/real/test_graft_starting.py holds it against the frameworks."""

from __future__ import annotations

import pytest

from ckptdoctor.optimizers.catalogue import COPY, EMA, SlotKind, layouts
from ckptdoctor.optimizers.keras.defaults import defaults_of
from ckptdoctor.optimizers.name_based import TF1_AVERAGE, TF1_OPTIMIZERS
from ckptdoctor.optimizers.starting import starting_value
from ckptdoctor.state import Generation, Role


def _kinds(class_name: str, generation: Generation) -> tuple[SlotKind, ...]:
    return layouts(class_name, generation)[0].kinds


@pytest.mark.parametrize(
    ("class_name", "generation", "given", "values"),
    [
        ("Adagrad", Generation.KERAS3, {}, [0.1]),
        ("Adagrad", Generation.KERAS3, {"initial_accumulator_value": 0.25}, [0.25]),
        ("Adagrad", Generation.KERAS3, {"initial_accumulator_value": "much"}, [0.1]),
        ("Adagrad", Generation.KERAS1, {}, [0.0]),
        ("Ftrl", Generation.OPTIMIZER_V2, {}, [0.1, 0.0]),
        ("Adadelta", Generation.KERAS2, {}, [0.0, 0.0]),
        ("RMSprop", Generation.OPTIMIZER_V2, {}, [0.0, 0.0, 0.0]),
        ("Adam", Generation.KERAS3, {}, [0.0, 0.0, 0.0]),
    ],
)
def test_the_number(class_name: str, generation: Generation, given: dict[str, object], values: list[float]) -> None:
    """Adagrad and Ftrl begin where they are told to, all others at zero."""
    kinds = _kinds(class_name, generation)
    defaults = defaults_of(class_name, generation) or {}
    assert [starting_value(kind, given, defaults) for kind in kinds] == values


def test_tensorflow_1() -> None:
    """RMSProp begins with ones, where its momentum and its mean gradient are zero."""
    centered = next(each for each in TF1_OPTIMIZERS if [kind.name for kind in each.slots] == ["rms", "mg", "momentum"])
    assert [starting_value(kind, {}, {}) for kind in centered.slots] == [1.0, 0.0, 0.0]
    ftrl = next(each for each in TF1_OPTIMIZERS if each.class_name == "Ftrl")
    assert [starting_value(kind, {}, {}) for kind in ftrl.slots] == [0.1, 0.0]


def test_copies() -> None:
    """Averages and the point that ScheduleFreeAdamW steps from are the weights at first; no moment is."""
    free = {kind.role: kind.start == COPY for kind in _kinds("ScheduleFreeAdamW", Generation.KERAS3)}
    assert free == {Role.FIRST_MOMENT: True, Role.SECOND_MOMENT: False}
    assert EMA.start == TF1_AVERAGE.start == COPY
    assert not any(kind.start for kind in _kinds("Adam", Generation.KERAS3))
