"""Name-based checkpoints (tf.compat.v1 Saver) with another's optimizer state: slots are `<variable>/<op name>[_k]`.

Source: tensorflow/python/training/{optimizer,slot_creator,adam,saver}.py. A Saver needs every variable of its graph, so
a checkpoint must be complete: slots, beta powers and the step.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.artifacts.tf_names import Names, read_names
from ckptdoctor.artifacts.written import Written
from ckptdoctor.containers.bundle_writer import NewTensor, write_bundle
from ckptdoctor.containers.checkpoint_v1 import read_v1
from ckptdoctor.containers.copying import Progress
from ckptdoctor.containers.tensor_bundle import read_bundle
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.catalogue import TF1_OPTIMIZERS, Tf1Optimizer
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, OptimizerState, TensorRef

_STEP = "global_step"


class _Naming(NamedTuple):
    """How the target's graph names its optimizer's variables.

    Attributes:
        op: Name of the slot operations.
        entry: The catalogue's entry, if the optimizer is a known one.
        scope: What stands before a slot's whole name (`train/`).
        powers: Name of each beta power.
    """

    op: str
    entry: Tf1Optimizer | None
    scope: str
    powers: Mapping[str, str]


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
    counts: dict[str, int] = {}
    for slot in optimizer.slots:
        if slot.variable not in known:
            raise GraftRefused(f"the target has no variable {slot.variable!r}")
        number = _position(naming.entry, slot.kind.name, counts, slot.variable)
        new[_slot_name(naming, slot.variable, number)] = NewTensor(slot.dtype, slot.shape, slot.content, slot.factor)
    for name, value in optimizer.singles.items():
        new[naming.powers.get(name, naming.scope + name)] = NewTensor("float32", (), struct.pack("<f", value))
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
    entries = [each for each in TF1_OPTIMIZERS if each.class_name == optimizer.class_name]
    kinds = {slot.kind.name for slot in optimizer.slots}
    op = own.name if own is not None and own.slots else ""
    fitting = [each for each in entries if {kind.name for kind in each.slots} == kinds]
    named = [each for each in fitting if each.op_name == (op or optimizer.name)]
    entry = next(iter(named or fitting or entries), None)
    if not op:
        custom = optimizer.name.rpartition("/")[2]
        op = custom if custom not in {"", "optimizer"} else entry.op_name if entry else optimizer.class_name
    return _Naming(op, entry, _scope(optimizer, own, op), _powers(optimizer, own))


def _scope(optimizer: PlannedOptimizer, own: OptimizerState | None, op: str) -> str:
    """What the graph puts before slot names: a variable scope around `minimize`. The donor's is the same program's."""
    pairs = [(slot.tensor.key, slot.variable) for slot in own.slots] if own is not None else []
    pairs += [(slot.source.key, slot.donor_variable) for slot in optimizer.slots if slot.source is not None]
    for key, variable in pairs:
        head, found, tail = key.rpartition(f"{variable}/{op}")
        if found and variable and (not tail or tail[1:].isdigit()) and (not head or head.endswith("/")):
            return head
    return ""


def _powers(optimizer: PlannedOptimizer, own: OptimizerState | None) -> dict[str, str]:
    """The names under which the target has its beta powers: they may stand in a name scope of their own."""
    others = own.other if own is not None else ()
    return {
        name: found
        for name in optimizer.singles
        if (found := next((each.tensor.key for each in others if each.tensor.key.rpartition("/")[2] == name), None))
    }


def _position(entry: Tf1Optimizer | None, kind: str, counts: dict[str, int], variable: str) -> int:
    """The k of `<op>_k`: the order in which the class creates its slots."""
    number = counts[variable] = counts.get(variable, -1) + 1
    if entry is not None:
        return next((at for at, each in enumerate(entry.slots) if each.name == kind), number)
    return number


def _slot_name(naming: _Naming, variable: str, number: int) -> str:
    if naming.entry is not None and naming.entry.suffixes:
        return f"{naming.scope}{variable}/{naming.entry.suffixes[number]}"
    return f"{naming.scope}{variable}/{naming.op}" + (f"_{number}" if number else "")


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
    example = _slot_name(naming, "<variable>", 0)
    where = "as the target has them" if own is not None and own.slots else "the graph's names must be these"
    return f"slots are named {example!r}, the count is {step!r}: {where}, or Saver.restore does not find them"
