"""Bare lists: every optimizer of the catalogue is found again in the list that it would dump, and weights are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ckptdoctor.optimizers.catalogue import LAYOUTS, Layout, SlotKind
from ckptdoctor.optimizers.keras.config import OptimizerConfig, Settings, every_setting
from ckptdoctor.optimizers.lists.evidence import INITIAL_ACCUMULATOR, NEVER_NEGATIVE, Kind, Observed, observe
from ckptdoctor.optimizers.lists.layout import ITERATION, LEARNING_RATE, Assigned, Trained, expand, relevant_flags
from ckptdoctor.optimizers.lists.unnamed import Hints, judge
from ckptdoctor.state import Generation, Role

SHAPES = [(3, 4), (4,), (4, 2), (2,)]
SAME = [(3, 3), (3, 3), (3, 3)]
RARE = {"use_ema", "gradient_accumulation"}


def values(one: Assigned, rng: np.random.Generator, layout: Layout) -> np.ndarray[Any, Any]:
    """Numbers such as this kind of state holds."""
    assert isinstance(one.kind, SlotKind)
    numbers = rng.normal(size=one.shape) * 0.1
    if one.kind.extent.name == "PLACEHOLDER":
        return numbers * 0
    if one.kind.role not in NEVER_NEGATIVE:
        return numbers
    starts = layout.class_name in {"Adagrad", "Ftrl"} and layout.generation is not Generation.KERAS1
    return np.square(numbers) + (INITIAL_ACCUMULATOR if starts and one.kind.role is Role.ACCUMULATOR else 0)


def dump(
    layout: Layout, settings: Settings, shapes: Sequence[tuple[int, ...]]
) -> tuple[list[Observed], list[Assigned]]:
    """What an optimizer of this layout dumps after 70 steps, and what each element is."""
    rng = np.random.default_rng(7)
    exponent = 1 if layout.generation is Generation.KERAS3 else 0.004
    product = math.prod(0.9 * (1 - 0.5 * 0.96 ** (exponent * step)) for step in range(1, 71))
    predicted = list(expand(layout, [Trained(f"v{i}", shape) for i, shape in enumerate(shapes)], settings))
    items: list[Observed] = []
    for one in predicted:
        if one.kind is ITERATION:
            items.append(Observed((), "int64", 70))
        elif isinstance(one.kind, SlotKind):
            items.append(observe(one.shape, "float32", [float(x) for x in values(one, rng, layout).ravel()]))
        else:
            items.append(Observed((), "float32", 0.01 if one.kind is LEARNING_RATE else product))
    return items, predicted


CASES = [
    pytest.param(layout, setting, id=f"{layout.class_name}-{layout.generation.value}{layout.versions}-{flags}")
    for layout in LAYOUTS
    for setting in every_setting(relevant_flags(layout))
    if (not setting.flags & RARE or layout.class_name in {"Adam", "SGD"})
    and not setting.flags >= RARE
    and (flags := "+".join(sorted(setting.flags)) or "plain")
]


@pytest.mark.parametrize(("layout", "settings"), CASES)
def test_every_layout_is_found_again(layout: Layout, settings: Settings) -> None:
    """The class is named or among the candidates, and where it is named every element is what it was."""
    items, predicted = dump(layout, settings, SHAPES)
    slots = [one for one in predicted if isinstance(one.kind, SlotKind)]
    verdict = judge(items)
    assert verdict is not None
    if not slots:
        assert verdict.class_name == "SGD"
        return
    assert layout.class_name in {verdict.class_name, *verdict.candidates}
    kinds = [one.kind for one in verdict.fit.assigned]
    roles = [kind.role if isinstance(kind, SlotKind) else kind for kind in kinds]
    wanted = [one.kind.role if isinstance(one.kind, SlotKind) else one.kind for one in predicted]
    if verdict.class_name == layout.class_name and layout.generation in verdict.generations and not ambiguous(settings):
        assert [one.variable for one in verdict.fit.assigned] == [one.variable for one in predicted]
        assert [role for role in roles if isinstance(role, Role)] == [role for role in wanted if isinstance(role, Role)]


def ambiguous(settings: Settings) -> bool:
    """Settings that add the same shapes and signs as others: an average or accumulated gradients; centered or not."""
    return bool(settings.flags & (RARE | {"momentum", "centered"}))


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lion"])
@pytest.mark.parametrize("generation", [Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3])
def test_equal_shapes_are_told_apart_by_their_values(name: str, generation: Generation) -> None:
    """Where all shapes are equal, signs still say which element is which."""
    for layout in LAYOUTS:
        if (layout.class_name, layout.generation) != (name, generation):
            continue
        settings = Settings(frozenset({"momentum"})) if name == "SGD" else Settings()
        items, predicted = dump(layout, settings, SAME)
        verdict = judge(items)
        assert verdict is not None
        assert name in {verdict.class_name, *verdict.candidates}
        if verdict.class_name == name:
            got = [(getattr(one.kind, "role", None), one.variable) for one in verdict.fit.assigned]
            assert got == [(getattr(one.kind, "role", None), one.variable) for one in predicted]


def counted(
    *arrays: tuple[tuple[int, ...], Sequence[float]], count: float = 70, dtype: str = "int64"
) -> list[Observed]:
    """A list of a count and these arrays."""
    return [Observed((), dtype, count), *(observe(shape, "float32", numbers) for shape, numbers in arrays)]


MIXED, SQUARES = [0.1, -0.2] * 10, [0.01, 0.04] * 10


def test_a_models_weights_are_no_state() -> None:
    """Arrays without a count and with values of both signs are nobody's state."""
    assert judge([observe(shape, "float32", MIXED) for shape in SHAPES]) is None
    assert judge([observe(shape, "float32", MIXED) for shape in SHAPES], Hints(told=True)) is not None


def test_accumulators_without_a_count_are_state() -> None:
    """RMSprop had no count before Keras 2.3: sums of squares are never negative, weights always are somewhere."""
    verdict = judge([observe(shape, "float32", SQUARES) for shape in SHAPES])
    assert verdict is not None
    assert (verdict.class_name, verdict.candidates) == ("RMSprop", ("Adagrad",))
    assert verdict.generations == (Generation.KERAS1,)


def test_few_values_prove_nothing() -> None:
    """A handful of positive numbers is no evidence of an accumulator."""
    assert judge([observe((2,), "float32", [0.5, 0.25])]) is None


def test_zeros_prove_nothing() -> None:
    """Arrays of zeros without a count can be anything."""
    assert judge([observe(shape, "float32", [0.0] * 10) for shape in SHAPES]) is None


def test_a_count_left_out_is_noticed() -> None:
    """Moments without a count are read, and the count is reported as lacking."""
    items = counted(*((shape, MIXED) for shape in SHAPES), *((shape, SQUARES) for shape in SHAPES))[1:]
    verdict = judge(items)
    assert verdict is not None
    assert (verdict.class_name, verdict.lacking) == ("Adam", 1)
    assert len(verdict.fit.assigned) == len(items)


def test_counts_tell_generations() -> None:
    """Keras 1 counted in float32; Keras 3 with JAX or torch in int32."""
    arrays = [(shape, MIXED) for shape in SHAPES]
    for dtype, generation in (("float32", Generation.KERAS1), ("int32", Generation.KERAS3)):
        verdict = judge(counted(*arrays, dtype=dtype))
        assert verdict is not None
        assert verdict.generations == (generation,)


def test_a_fraction_is_no_count() -> None:
    """A list that begins with a fraction is no optimizer's."""
    assert judge(counted(*((shape, MIXED) for shape in SHAPES), count=0.5, dtype="float32")) is None


def test_scalars_of_keras_3_are_arrays() -> None:
    """How the count is stored decides between generations that nothing else tells apart."""
    arrays = [x for shape in SHAPES for x in (observe(shape, "float32", MIXED), observe(shape, "float32", SQUARES))]
    for kind, generation in ((Kind.SCALAR, Generation.KERAS2), (Kind.ARRAY, Generation.KERAS3)):
        verdict = judge([Observed((), "int64", 7, kind), *arrays])
        assert verdict is not None
        assert verdict.generations[0] is generation


def test_learning_rate_and_momentum_cache_are_not_confused() -> None:
    """A float behind the count is Keras 3's rate where slots alternate, and Nadam's cache where they are grouped."""
    rate, cache = Observed((), "float32", 0.01), Observed((), "float32", 7.94e-25)
    grouped = counted(*((shape, MIXED) for shape in SHAPES), *((shape, SQUARES) for shape in SHAPES))
    verdict = judge([grouped[0], cache, *grouped[1:]])
    assert verdict is not None
    assert verdict.class_name == "Nadam"
    alternating = [x for pair in zip(grouped[1:5], grouped[5:], strict=True) for x in pair]
    verdict = judge([grouped[0], rate, *alternating])
    assert verdict is not None
    assert verdict.class_name == "Adam"
    assert verdict.fit.assigned[1].kind is LEARNING_RATE


def test_loss_scaling_is_taken_off() -> None:
    """The four scalars of a LossScaleOptimizer stand before the inner list, whose count is the real one."""
    inner, _ = dump(next(each for each in LAYOUTS if each.generation is Generation.KERAS3), Settings(), SHAPES)
    own = [
        Observed((), "int64", 0),
        Observed((), "float32", 0.0),
        Observed((), "int64", 3),
        Observed((), "float32", 32768.0),
    ]
    verdict = judge([*own, *inner])
    assert verdict is not None
    assert verdict.start == 4
    assert verdict.fit.assigned[0].kind is ITERATION


def test_only_a_count() -> None:
    """A count alone is SGD's if it has stepped; at 0 it is that of any optimizer that was never built."""
    stepped, fresh = judge([Observed((), "int64", 7)]), judge([Observed((), "int64", 0)])
    assert stepped is not None
    assert fresh is not None
    assert (stepped.class_name, fresh.class_name) == ("SGD", None)


def test_a_configuration_decides() -> None:
    """A recorded class is not inferred, and one that does not fit is kept while the list is read as what it is."""
    items = counted(*((shape, MIXED) for shape in SHAPES), *((shape, SQUARES) for shape in SHAPES))
    for name, layout in (("Adamax", "Adamax"), ("Ftrl", "Adam")):
        config = OptimizerConfig(name, Generation.OPTIMIZER_V2)
        verdict = judge(items, Hints(config=config))
        assert verdict is not None
        assert (verdict.class_name, verdict.fit.layout.class_name) == (name, layout)
        assert verdict.candidates == ()


def test_open_orders_are_reported() -> None:
    """Zeros of equal shapes leave open whether kinds alternate; values close the question."""
    zeros = counted(*(((3, 3), [0.0] * 9) for _ in range(6)), count=0)
    verdict = judge(zeros)
    assert verdict is not None
    assert verdict.order_open
