"""Name-based checkpoints (tf.compat.v1 Saver, Estimator, SavedModelBuilder, V1): everything is in the names.

A TF1 slot is named `<variable>/<optimizer>[_k]`, with k counted per variable; under a variable scope the scope comes
before the whole name. Keras optimizers that went through a Saver keep their own names (`Adam/dense/kernel/m`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.formats.tensorflow.beta_powers import PowerSet, conflicts, take_loss_scale, take_powers
from ckptdoctor.formats.tensorflow.name_keras import COUNTS, keras_optimizers
from ckptdoctor.formats.tensorflow.name_optimizers import Steps, optimizers, recoverable
from ckptdoctor.formats.tensorflow.name_slots import Found, find_slots
from ckptdoctor.optimizers import inference
from ckptdoctor.optimizers.name_based import TF1_AVERAGE
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, Slot

_STEPS = ("global_step", "step", "GlobalStep", "train_step")
_NON_TRAINABLE = ("moving_mean", "moving_variance")


class Names:
    """A name-based checkpoint, sorted.

    Attributes:
        variables: The model's variables.
        optimizers: Its optimizers.
        counters: `global_step` and the like.
        counter_tensors: What they are stored in.
        averages: There are moving averages that no optimizer stands beside.
        others: What is none of the above.
    """

    def __init__(self) -> None:
        self.variables: list[ModelVariable] = []
        self.optimizers: list[OptimizerState] = []
        self.counters: dict[str, int] = {}
        self.counter_tensors: dict[str, TensorRef] = {}
        self.averages = 0
        self.others: list[TensorRef] = []


def read_names(tensors: Mapping[str, TensorRef], *, serving: bool = False) -> Names:
    """Sorts the tensors of a name-based checkpoint.

    Args:
        tensors: Name → tensor.
        serving: The artifact is an export for serving: a lone `global_step` in it is a label, not a training state.
    """
    names = Names()
    left = dict(tensors)
    scalars = [name for name, ref in tensors.items() if not ref.shape]
    sets = take_powers(left, scalars)
    scale = take_loss_scale(left, scalars)
    steps = _take_steps(left, scalars, names)
    keras = keras_optimizers(left, scalars, tensors, steps)
    groups, averages = find_slots(left)
    _take_rest(left, names, {*chain.from_iterable(group.slots for group in groups), *_owners(keras)})
    names.optimizers += keras
    found, nobodys = optimizers(groups, sets, steps, names.variables)
    names.optimizers += found
    names.others += nobodys
    if not names.optimizers and (sets or (steps and not serving and names.variables)):
        # tf.compat.v1.train.GradientDescentOptimizer keeps nothing: the step is all there is to resume from.
        names.optimizers.append(_stateless(sets, steps))
        names.others = [ref for ref in names.others if ref not in nobodys]
    if scale is not None and len(names.optimizers) == 1:
        names.optimizers = [names.optimizers[0]._replace(wrapper=scale)]
    elif scale is not None:
        names.others += [each.tensor for each in scale.variables]
    if averages.slots:
        _add_averages(names, averages)
    return names


def _take_steps(left: dict[str, TensorRef], scalars: Iterable[str], names: Names) -> tuple[str, int] | None:
    """Takes out whole-number scalars that count something; answers the global step."""
    best: tuple[str, int] | None = None
    candidates = [
        name
        for name in scalars
        if name in left and left[name].dtype in INTEGRAL and name.rpartition("/")[2] not in COUNTS
    ]
    for name in candidates:
        last = name.rpartition("/")[2]
        if last not in _STEPS and "step" not in last and "epoch" not in last and "counter" not in last:
            continue
        ref = left.pop(name)
        label = last if last not in names.counter_tensors else name
        names.counter_tensors[label] = ref
        value = read_scalar(ref)
        if isinstance(value, int):
            names.counters[label] = value
            rank = _STEPS.index(last) if last in _STEPS else len(_STEPS)
            if last in _STEPS and (best is None or rank < _STEPS.index(best[0].rpartition("/")[2])):
                best = (name, value)
    return best


def _owners(optimizers: Iterable[OptimizerState]) -> Iterator[str]:
    return (slot.variable for each in optimizers for slot in each.slots if slot.variable)


def _take_rest(left: dict[str, TensorRef], names: Names, trained: Container[str]) -> None:
    """Takes out what is nobody's slot: the model's variables, and texts."""
    new = tuple.__new__  # what the named tuple's constructor calls: this runs once per tensor
    names.others += [ref for ref in left.values() if ref.dtype == "string"]
    names.variables += [
        new(
            ModelVariable,
            (name, ref, True if name in trained else None if not name.endswith(_NON_TRAINABLE) else False, ()),
        )
        for name, ref in left.items()
        if ref.dtype != "string"
    ]
    left.clear()


def _stateless(sets: Sequence[PowerSet], steps: Steps | None) -> OptimizerState:
    inferred = inference.Inference("Adam") if sets else inference.Inference(None)
    return OptimizerState(
        name="",
        class_name=inferred.class_name,
        generation=Generation.TF1,
        class_inferred=inferred.class_name is not None,
        iterations=steps[1] if steps else None,
        iterations_key=steps[0] if steps else None,
        recoverable=None if steps else recoverable(sets),
        conflicts=conflicts(sets, steps),
        other=tuple(each for powers in sets for each in powers.members),
        notes=("no slot variables: gradient descent keeps none, any other optimizer has lost its own",)
        if not sets
        else (),
    )


def _add_averages(names: Names, averages: Found) -> None:
    slots = tuple(
        Slot(TF1_AVERAGE.name, TF1_AVERAGE.role, owner, ref, "name")
        for owner, members in averages.slots.items()
        for ref in members
    )
    if not names.optimizers:
        names.averages = len(slots)
        names.others.extend(slot.tensor for slot in slots)
        return
    first = names.optimizers[0]
    names.optimizers[0] = first._replace(slots=(*first.slots, *slots))
