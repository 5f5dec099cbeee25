"""Optimizers of Keras and TensorFlow as they begin: count 0, and each slot as a new optimizer's has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ckptdoctor.containers.tensors.shard_data import Constant, NewValue
from ckptdoctor.errors import Refused
from ckptdoctor.grafting.planning.powers import beta_powers, kind_of, stored_powers
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.inference import settings_kept
from ckptdoctor.optimizers.translation import SINGLES, Numbers
from ckptdoctor.repairing import values
from ckptdoctor.repairing.counts import Settings
from ckptdoctor.repairing.starts import starts_of
from ckptdoctor.state import OptimizerState, TrainingState
from ckptdoctor.words import counted

_RATES = frozenset({"learning_rate", "current_learning_rate"})
_COUNTS = frozenset({"step_counter", "good_steps", "iteration", "iterations"})
_SCALES = frozenset({"dynamic_scale", "current_loss_scale"})
_DIGITS = 4
"""Of betas, which a power in float32 tells to within less than that."""


def find(path: str, _settings: Settings) -> tuple[str, ...]:
    """Which optimizers would begin anew."""
    return values.planned(path, _plan)


def mend(path: str, output: str, _settings: Settings, progress: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Writes the artifact with optimizers as they begin; settings and weights stay.

    Raises:
        Refused: It is not known what one begins with.
    """
    return values.write(path, output, _plan, progress)


def _plan(state: TrainingState) -> tuple[list[NewValue], tuple[str, ...]]:
    new: list[NewValue] = []
    told: list[str] = []
    for each in state.optimizers:
        if each.has_state and dialect(each.generation).program == "keras":
            new += _count(each, state)
            slots, assumed = _slots(each, state)
            new += (*slots, *_singles(each, state.path))
            begins = f"{each.name or 'the optimizer'} begins at step 0 with {counted(len(slots), 'new slot')}"
            told += (begins, *assumed, *_kept_scale(each))
    return new, tuple(told)


def _count(optimizer: OptimizerState, state: TrainingState) -> Iterator[NewValue]:
    count = optimizer.iterations_tensor or state.counter_tensors.get(optimizer.iterations_key or "")
    if count is not None:
        yield NewValue(count, Constant(0))
    elif optimizer.iterations is not None:
        raise Refused(f"the count of {optimizer.name or 'the optimizer'} is in no tensor", state.path)


def _slots(optimizer: OptimizerState, state: TrainingState) -> tuple[list[NewValue], list[str]]:
    weights = {each.path: each.tensor for each in state.variables}
    found: list[NewValue] = []
    assumed: dict[str, str] = {}
    for slot, start in zip(optimizer.slots, starts_of(optimizer, weights, state.path), strict=True):
        if start.value is not None:
            found.append(NewValue(slot.tensor, Constant(start.value)))
            if start.assumed:
                assumed[start.assumed] = f"{slot.name} at {start.value:g}, the default: {start.assumed} is not stored"
            continue
        weight = weights.get(slot.variable or "")
        if weight is None or weight.location is None or weight.shape != slot.tensor.shape:
            raise Refused(f"{slot.tensor.key} begins as a copy of its variable, which is not here", state.path)
        found.append(NewValue(slot.tensor, weight))
    return found, list(assumed.values())


def _singles(optimizer: OptimizerState, path: str) -> Iterator[NewValue]:
    """Scalars: what is counted or multiplied up begins anew, settings stay.

    Raises:
        Refused: It is not known which of the two one is.
    """
    powers = _powers(optimizer)
    settings = {*settings_kept(optimizer.class_name, optimizer.generation), *_RATES}
    around = optimizer.wrapper.variables if optimizer.wrapper is not None else ()
    for each in (*optimizer.other, *around):
        name = each.name.rpartition("/")[2].lstrip("_")
        if name in powers:
            yield NewValue(each.tensor, Constant(round(powers[name], _DIGITS)))
        elif name in SINGLES:
            yield NewValue(each.tensor, Constant(1.0))
        elif name in _COUNTS:
            yield NewValue(each.tensor, Constant(0))
        elif name not in settings | _SCALES:
            raise Refused(f"what a new {each.name} holds is not known", path)


def _powers(optimizer: OptimizerState) -> dict[str, float]:
    """The betas, which TensorFlow 1's powers are at step 0; those of several optimizers have steps of their own."""
    found: dict[str, float] = {}
    stored = stored_powers(optimizer) if dialect(optimizer.generation).by_graph else {}
    for number in dict.fromkeys(name[len(kind_of(name)) :] for name in stored):
        other = tuple(
            each for each in optimizer.other if (last := each.name.rpartition("/")[2])[len(kind_of(last)) :] == number
        )
        one = optimizer._replace(other=other)
        found |= beta_powers(optimizer.class_name or "", one, one, Numbers(iterations=0))
    return found


def _kept_scale(optimizer: OptimizerState) -> Iterator[str]:
    scale = optimizer.wrapper.loss_scale if optimizer.wrapper is not None else None
    if scale is not None:
        yield f"the loss scale stays at {scale:g}"
