"""The averages that Keras and TensorFlow keep of weights change places with them: what predicts best, or trains on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from ckptdoctor.containers.tensors.scan import are_equal
from ckptdoctor.containers.tensors.shard_data import NewValue
from ckptdoctor.errors import Refused
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.references import TensorRef
from ckptdoctor.repairing import values
from ckptdoctor.repairing.counts import Settings
from ckptdoctor.repairing.likeness import are_near, exchanged, sample
from ckptdoctor.state import OptimizerState, Role, Slot, TrainingState
from ckptdoctor.words import counted, enumerate_some


def find(path: str, _settings: Settings) -> tuple[str, ...]:
    """What would change places."""
    return values.planned(path, _plan)


def mend(path: str, output: str, _settings: Settings, progress: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Writes the artifact with averages as weights and weights as averages.

    Raises:
        Refused: Not every average is known to be of its variable.
    """
    return values.write(path, output, _plan, progress)


def _plan(state: TrainingState) -> tuple[list[NewValue], tuple[str, ...]]:
    weights = {each.path: each.tensor for each in state.variables}
    new: list[NewValue] = []
    told: list[str] = []
    taken: set[str] = set()
    for each in state.optimizers:
        held = _held(each, weights)
        if not held or dialect(each.generation).program != "keras":
            continue
        pairs = _pairs(each, held, weights, state.path)
        twice = [slot.variable for slot, _ in pairs if slot.variable in taken]
        if twice:
            raise Refused(f"several optimizers keep an average of {twice[0]}", state.path)
        taken.update(path for path in (slot.variable for slot, _ in pairs) if path is not None)
        for slot, weight in pairs:
            new += (NewValue(weight, slot.tensor), NewValue(slot.tensor, weight))
        told.append(
            f"{counted(len(pairs), 'variable')} and their averages in {each.name or 'the optimizer'} changed places"
        )
    rest = [path for path in weights if path not in taken]
    if new and rest:
        told.append(f"no average is kept of {enumerate_some(rest)}: they stay as they are")
    return new, tuple(told)


def _held(optimizer: OptimizerState, weights: Mapping[str, TensorRef]) -> list[Slot]:
    """The averages; a list without a configuration has them where accumulated gradients may be, and values tell."""
    held = [slot for slot in optimizer.slots if slot.role is Role.MOVING_AVERAGE]
    if held or not optimizer.class_inferred:
        return held
    held = [slot for slot in optimizer.slots if slot.role is Role.GRADIENT_ACCUMULATOR]
    pairs = [(slot.tensor, weights[slot.variable or ""]) for slot in held if slot.variable in weights]
    alike = len(pairs) == len(held) and all(one.shape == other.shape for one, other in pairs)
    return held if alike and are_near(pairs) else []


def _pairs(
    optimizer: OptimizerState, held: list[Slot], weights: Mapping[str, TensorRef], path: str
) -> list[tuple[Slot, TensorRef]]:
    """Each average with its weight.

    Raises:
        Refused: One has none, or it is not known which.
    """
    whose = optimizer.name or "the optimizer"
    if optimizer.iterations == 0:
        raise Refused(f"{whose} never stepped: its averages hold nothing yet", path)
    pairs: list[tuple[Slot, TensorRef]] = []
    for slot in held:
        weight = weights.get(slot.variable or "")
        if weight is None or weight.location is None or slot.tensor.location is None:
            raise Refused(f"the average {slot.tensor.key} or the variable that it is of is not in the artifact", path)
        if (weight.dtype, weight.shape) != (slot.tensor.dtype, slot.tensor.shape):
            raise Refused(f"the average of {slot.variable} has another shape or type than the variable", path)
        pairs.append((slot, weight))
    if all(are_equal(slot.tensor, weight) for slot, weight in pairs):
        raise Refused(
            f"the averages of {whose} equal the weights: they are swapped in already, and what was trained is not here",
            path,
        )
    _require_told(pairs, weights, path)
    return pairs


def _require_told(pairs: list[tuple[Slot, TensorRef]], weights: Mapping[str, TensorRef], path: str) -> None:
    """Refuses where only the order gives averages to variables of equal shapes, and values speak against it.

    Raises:
        Refused: Two would fit better the other way round.
    """
    shapes = Counter(each.shape for each in weights.values())
    unsure = [(slot, weight) for slot, weight in pairs if slot.mapping != "name" and shapes[weight.shape] > 1]
    values = [(sample(slot.tensor), sample(weight)) for slot, weight in unsure]
    for (one, _), own in zip(unsure, values, strict=True):
        for (other, weight), its in zip(unsure, values, strict=True):
            if weight.shape == one.tensor.shape and exchanged(own, its):
                raise Refused(
                    f"only their place says that {one.tensor.key} and {other.tensor.key} are the averages of "
                    f"{one.variable} and {other.variable}, and their values fit the other way round",
                    path,
                )
