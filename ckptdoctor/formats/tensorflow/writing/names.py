"""Name-based checkpoints (tf.compat.v1 Saver) with another's optimizer state: slots are `<variable>/<op name>[_k]`.

Source: tensorflow/python/training/{optimizer,slot_creator,adam,saver}.py. A Saver needs every variable of its graph, so
a checkpoint must be complete: slots, beta powers and the step.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.bundles.v1 import read_v1
from ckptdoctor.containers.bundles.writing import NewTensor, write_bundle
from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.tensorflow.names import Names, read_names
from ckptdoctor.optimizers.name_based import TF1_AVERAGE, TF1_OPTIMIZERS
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, OptimizerState

_STEP = "global_step"
_PACKED = {"int32": "<i", "int64": "<q", "float32": "<f", "float64": "<d"}


class _Naming(NamedTuple):
    """How the graph names its optimizer's variables.

    Attributes:
        tails: What stands behind a variable's name, by the kind of slot: `Adam_1`.
        scope: What stands before a slot's whole name (`train/`).
        singles: Name of each scalar: beta powers may stand in a name scope of their own.
    """

    tails: Mapping[str, str]
    scope: str
    singles: Mapping[str, str]


def check_named(optimizer: PlannedOptimizer) -> None:
    """Refuses optimizers that keep their state in objects.

    Raises:
        GraftRefused: It is one.
    """
    if optimizer.generation is not Generation.TF1:
        raise GraftRefused(
            "the target is a name-based checkpoint (tf.compat.v1 Saver): only TensorFlow 1 optimizers go into it "
            "(--as tf1)"
        )


def write_named(
    optimizer: PlannedOptimizer,
    target: str,
    output: str,
    *,
    link: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Writes a name-based checkpoint with this optimizer's state, as a V2 bundle.

    Args:
        optimizer: The optimizer, of generation TF1.
        target: The checkpoint's prefix, or the file of a V1 checkpoint.
        output: The prefix to write.
        link: Share unchanged data files by hard link.
        progress: Told how many bytes have been dealt with.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: An input is corrupt.
    """
    check_named(optimizer)
    old = not os.path.exists(f"{target}.index")
    tensors = dict(read_v1(target).tensors if old else read_bundle(target).tensors)
    names = read_names(tensors)
    known = {variable.path for variable in names.variables}
    own = next((each for each in names.optimizers if each.name == optimizer.name), None)
    naming = _naming(optimizer, own)
    new: dict[str, NewTensor] = {}
    for slot in optimizer.slots:
        if slot.variable not in known:
            raise GraftRefused(f"the target has no variable {slot.variable!r}")
        new[_slot_name(naming, slot.variable, slot.kind.name)] = NewTensor(
            slot.dtype, slot.shape, slot.content, slot.factor
        )
    for name, value in optimizer.singles.items():
        new[naming.singles.get(name, naming.scope + name)] = NewTensor("float32", (), struct.pack("<f", value))
    new.update(_loss_scale(optimizer, own))
    step, dtype = _step(own, tensors)
    packed = struct.pack("<i" if dtype == "int32" else "<q", optimizer.iterations)
    new[step] = NewTensor(dtype, (), packed)
    gone = _gone(own, names) - new.keys()
    notes = [_assumed(naming, step, own)]
    if old:
        replaced = gone | new.keys()
        kept = {name: NewTensor(ref.dtype, ref.shape, ref) for name, ref in tensors.items() if name not in replaced}
        strings = [name for name, each in kept.items() if each.dtype == "string"]
        if strings:
            raise GraftRefused(f"the V1 checkpoint holds strings ({strings[0]!r}), which are not converted to V2")
        report = write_bundle(output, {**kept, **new}, progress=progress)
        notes.append(
            "the target is a V1 checkpoint; the result is V2 (an index and a data file), which Saver reads alike"
        )
    else:
        report = write_bundle(output, new, base=target, drop=gone, link=link, progress=progress)
    if report.unlinked:
        notes.append(f"copied, not linked: {', '.join(report.unlinked)}")
    return Written(tuple(notes), report.new, report.copied, report.linked)


def _naming(optimizer: PlannedOptimizer, own: OptimizerState | None) -> _Naming:
    """The target's own names; where it has none the donor's, which is the same program's, else the class's."""
    kinds = list(dict.fromkeys(slot.kind.name for slot in optimizer.slots))
    made = [kind for kind in kinds if kind != TF1_AVERAGE.name]
    scope, tails = "", dict(zip(made, _by_class(optimizer, own, made), strict=True))
    tails |= {kind: kind for kind in kinds if kind == TF1_AVERAGE.name}
    held = [(slot.name, slot.tensor.key, slot.variable) for slot in own.slots] if own is not None else []
    given = [
        (slot.kind.name, slot.source.key, slot.donor_variable) for slot in optimizer.slots if slot.source is not None
    ]
    for kind, key, variable in held or given:
        head, found, tail = key.rpartition(f"{variable}/")
        # A donor of another generation or format names slots in other ways.
        if found and kind in tails and (not head or head.endswith("/")) and (held or tail == tails[kind]):
            scope, tails[kind] = head, tail
    others = own.other if own is not None else ()
    names = {each.tensor.key.rpartition("/")[2]: each.tensor.key for each in others}
    return _Naming(tails, scope, {name: names[name] for name in optimizer.singles if name in names})


def _by_class(optimizer: PlannedOptimizer, own: OptimizerState | None, kinds: Sequence[str]) -> list[str]:
    """The ends of slot names as the class makes them: `<op>`, `<op>_1` … in the order of its slots."""
    entries = [each for each in TF1_OPTIMIZERS if each.class_name == optimizer.class_name]
    op = own.name if own is not None and own.slots else ""
    fitting = [each for each in entries if {kind.name for kind in each.slots} == set(kinds)]
    named = [each for each in fitting if each.op_name == (op or optimizer.name)]
    entry = next(iter(named or fitting or entries), None)
    if entry is not None and entry.suffixes:
        return [entry.suffixes[[kind.name for kind in entry.slots].index(name)] for name in kinds]
    custom = optimizer.name.rpartition("/")[2]
    op = op or (custom if custom not in {"", "optimizer"} else entry.op_name if entry else optimizer.class_name)
    order = [kind.name for kind in entry.slots] if entry is not None else list(kinds)
    places = [order.index(name) if name in order else number for number, name in enumerate(kinds)]
    return [f"{op}_{place}" if place else op for place in places]


def _slot_name(naming: _Naming, variable: str, kind: str) -> str:
    return f"{naming.scope}{variable}/{naming.tails[kind]}"


def _loss_scale(optimizer: PlannedOptimizer, own: OptimizerState | None) -> dict[str, NewTensor]:
    """The loss scale: in the places where the target keeps it; without an optimizer there, under the donor's names."""
    values = optimizer.wrapper[1] if optimizer.wrapper is not None else {}
    held = own.wrapper.variables if own is not None and own.wrapper is not None else ()
    dtypes = {each.name: each.tensor.dtype for each in held}
    return {
        name: NewTensor(dtype, (), struct.pack(_PACKED[dtype], value))
        for name, value in values.items()
        if (dtype := dtypes.get(name) or ("int64" if isinstance(value, int) else "float32")) in _PACKED
        and (name in dtypes or own is None)
    }


def _step(own: OptimizerState | None, tensors: Mapping[str, TensorRef]) -> tuple[str, str]:
    """The name and type of the step."""
    name = own.iterations_key if own is not None and own.iterations_key else None
    if name is None:
        name = next((each for each in tensors if each.rpartition("/")[2] == _STEP), _STEP)
    ref = tensors.get(name)
    return name, ref.dtype if ref is not None and ref.dtype in {"int32", "int64"} else "int64"


def _gone(own: OptimizerState | None, names: Names) -> set[str]:
    """The old optimizer's variables."""
    if own is None or own not in names.optimizers:
        return set()
    return {slot.tensor.key for slot in own.slots} | {each.tensor.key for each in own.other}


def _assumed(naming: _Naming, step: str, own: OptimizerState | None) -> str:
    slots = [f"slots are named {_slot_name(naming, '<variable>', kind)!r}" for kind in list(naming.tails)[:1]]
    where = "as the target has them" if own is not None and own.slots else "the graph's names must be these"
    return f"{', '.join([*slots, f'the count is {step!r}'])}: {where}, or Saver.restore does not find them"
