"""What an optimizer is and counts, compared: its class, generation, iterations, and a wrapper around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptdoctor.comparison.pairs import other_classes
from ckptdoctor.comparison.results import Item, Layer, Outcome, Said
from ckptdoctor.comparison.scalars import compare_scalars
from ckptdoctor.comparison.settings import compare_settings
from ckptdoctor.comparison.values import Tolerance
from ckptdoctor.state import OptimizerState, OtherVariable, Wrapper

_EXACT = Tolerance()
_SCALES = {"current_loss_scale": "loss scale", "dynamic_scale": "loss scale", "loss_scale": "loss scale"}
_STEPS = {"good_steps": "good steps", "step_counter": "good steps"}


def compare_items(a: OptimizerState | None, b: OptimizerState | None, tolerance: Tolerance = _EXACT) -> Iterator[Item]:
    """Every item of two optimizers, one of which may be lacking."""
    if a is None or b is None:
        yield from _lone(a, b)
        return
    yield _class(a, b)
    yield from _generation(a, b)
    yield from _iterations(a, b)
    yield from compare_settings(a, b)
    yield from compare_scalars(a, b, tolerance)
    yield from _wrapper(a.wrapper, b.wrapper)


def _lone(a: OptimizerState | None, b: OptimizerState | None) -> Iterator[Item]:
    """An optimizer that only one artifact has: its state is what the other lacks."""
    holder = a if a is not None else b
    if holder is None or not holder.has_state:
        return
    outcome = Outcome.ONLY_A if a is not None else Outcome.ONLY_B

    def values(said: object) -> Said:
        return (said, None) if a is not None else (None, said)

    yield Item(Layer.CLASS, "class", values(holder.class_name), outcome)
    if holder.iterations is not None:
        yield Item(Layer.ITERATIONS, "iterations", values(holder.iterations), outcome)


def _class(a: OptimizerState, b: OptimizerState) -> Item:
    names = a.class_name, b.class_name
    if None in names:
        return Item(Layer.CLASS, "class", names, Outcome.NOT_COMPARED, "nothing tells the class")
    inferred = [side for side, each in (("A", a), ("B", b)) if each.class_inferred]
    detail = f"inferred in {' and '.join(inferred)}" if inferred else ""
    if not other_classes(a, b):
        return Item(Layer.CLASS, "class", names, Outcome.EQUAL, detail)
    # The same kinds of slots, and a class that was inferred from nothing else: that proves no difference.
    roles = [{slot.role for slot in each.slots} for each in (a, b)]
    doubtful = bool(inferred) and roles[0] == roles[1]
    return Item(Layer.CLASS, "class", names, Outcome.UNDECIDED if doubtful else Outcome.DIFFERENT, detail)


def _generation(a: OptimizerState, b: OptimizerState) -> Iterator[Item]:
    """Generations store one state in different ways: that is told, and is no difference of the state."""
    one, other = (None if each.generation is None else each.generation.value for each in (a, b))
    if one is None and other is None:
        return
    if one == other:
        yield Item(Layer.GENERATION, "generation", (one, other), Outcome.EQUAL)
        return
    yield Item(Layer.GENERATION, "generation", (one, other), Outcome.NOT_COMPARED, "what they store is compared below")


def _iterations(a: OptimizerState, b: OptimizerState) -> Iterator[Item]:
    layer = Layer.ITERATIONS
    counts = a.iterations, b.iterations
    if None not in counts:
        same = counts[0] == counts[1]
        yield Item(layer, "iterations", counts, Outcome.EQUAL if same else Outcome.DIFFERENT)
        return
    follows = [each.recoverable.value if each.recoverable else None for each in (a, b)]
    known = [count if count is not None else other for count, other in zip(counts, follows, strict=True)]
    said = known[0], known[1]
    sources = "; ".join(
        f"{side} stores none: {each.recoverable.value} follows from {each.recoverable.source}"
        for side, each in (("A", a), ("B", b))
        if each.iterations is None and each.recoverable
    )
    if said == (None, None):
        if a.has_state and b.has_state:
            yield Item(layer, "iterations", (None, None), Outcome.NOT_COMPARED, "neither stores a count")
    elif None in known:
        yield Item(layer, "iterations", said, Outcome.ONLY_A if known[1] is None else Outcome.ONLY_B)
    else:
        same = known[0] == known[1]
        yield Item(layer, "iterations", said, Outcome.EQUAL if same else Outcome.DIFFERENT, sources)


def _wrapper(a: Wrapper | None, b: Wrapper | None) -> Iterator[Item]:
    if a is None and b is None:
        return
    layer = Layer.WRAPPER
    names = None if a is None else a.class_name, None if b is None else b.class_name
    if a is None or b is None:
        yield Item(layer, "wrapper", names, Outcome.ONLY_A if b is None else Outcome.ONLY_B)
        return
    # LossScaleOptimizer, LossScaleOptimizerV1 and V3 are one thing in different releases.
    yield Item(layer, "wrapper", names, Outcome.EQUAL)
    ours, theirs = _scaling(a), _scaling(b)
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None:
            detail = f"{'A' if one is None else 'B'} does not store it"
            yield Item(layer, name, (one, other), Outcome.NOT_COMPARED, detail)
        else:
            yield Item(layer, name, (one, other), Outcome.EQUAL if one == other else Outcome.DIFFERENT)


def _scaling(wrapper: Wrapper) -> Mapping[str, float]:
    """The loss scale and its count of good steps, under one name each."""
    found: dict[str, float] = {} if wrapper.loss_scale is None else {"loss scale": wrapper.loss_scale}
    for other in wrapper.variables:
        name = {**_SCALES, **_STEPS}.get(other.name.lstrip("_"))
        if name is not None and _is_number(other):
            found[name] = float(other.value or 0)
    return found


def _is_number(other: OtherVariable) -> bool:
    return isinstance(other.value, (int, float)) and not isinstance(other.value, bool)
