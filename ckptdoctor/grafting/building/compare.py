"""The result, read back by our own reader and held against the plan, tensor by tensor, before it is put in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.bytes.crc import masked_crc32c_in
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.tensors.shard_data import Constant, NewValue, filled
from ckptdoctor.containers.tensors.values import kept_open, numpy_dtype, ordered_chunks, paired_chunks
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import record
from ckptdoctor.grafting.building.kept import by_key, own_of, untouched
from ckptdoctor.grafting.building.readback import require_same_state_dict, slots_by_number
from ckptdoctor.grafting.planning.completeness import require_no_fewer
from ckptdoctor.matching.lists import is_unrecorded
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot, PlannedStateDict
from ckptdoctor.references import FileRange, TensorRef
from ckptdoctor.state import OptimizerState, Role, Slot, TrainingState, quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 256 << 10
"""Bytes at a time: they stay in the processor's cache, which makes comparing several times faster than 4 MB."""


def hold_against_plan(
    result: TrainingState,
    target: TrainingState,
    optimizer: PlannedOptimizer,
    progress: Callable[[int], None] | None = None,
    *,
    partial: bool = False,
    summed: Collection[str] = (),
) -> Mapping[Place, int]:
    """Checks that the result holds the planned state, and the target's own variables as they were.

    Args:
        result: What was read back.
        target: What it was made from.
        optimizer: What was planned.
        progress: Told how many bytes of slots were compared.
        partial: It may hold fewer slots than the target did.
        summed: Files of which whatever is compared is summed up as well.

    Returns:
        The CRC-32 of what was.

    Raises:
        GraftRefused: It does not; nothing is put in place.
    """
    found = _optimizer(result, optimizer)
    if optimizer.state_dict is not None:
        with kept_open(), RawPlaces(summed) as places:

            def same(one: TensorRef, other: TensorRef) -> bool:
                return _same_values(one, other, places)

            require_same_state_dict(found, optimizer.state_dict, same, progress)
            same_weights(result, target, places)
            _same_neighbours(result, target, optimizer, same)
        return places.sums
    count = found.iterations
    if count is None and not dialect(found.generation).counts:
        # In a tf.train.Checkpoint they keep no count, and global_step may not be there: Adam's beta powers tell it.
        if found.recoverable is None:
            raise GraftRefused(
                f"{found.class_name or 'the optimizer'} of tf.compat.v1 has no place for a count in a checkpoint of "
                "objects: write the optimizer that the target's program has with --as optimizer-v2, keras2 or keras3"
            )
        count = found.recoverable.value
    if count is None and optimizer.tree:
        count = optimizer.iterations  # a chain without one; its leaves are compared below
    if count != optimizer.iterations:
        raise _failed(f"the count is {count} instead of {optimizer.iterations}")
    _require_as_many(found, target, optimizer, partial=partial)
    slots = {(slot.variable, quantity(slot.role, slot.name)): slot for slot in found.slots}
    if is_unrecorded(result, found.name):
        slots = slots_by_number(found, optimizer)
    elif record(result.format).is_numbered:  # what is loaded goes by place, whatever the reader takes it for
        slots = _by_place(found, optimizer)
    elif any(slot.variable is None for slot in found.slots):
        # Two models with the same layer names: slots of Keras 2.11 to 2.15 say no more than a name and a place.
        slots = {**_by_place(found, optimizer), **slots}
    with kept_open(), RawPlaces(summed) as raw:
        for planned in optimizer.slots:
            slot = slots.get((planned.variable, quantity(planned.kind.role, planned.kind.name)))
            if slot is None:
                raise _failed(f"{planned.kind.name} of {planned.variable} is not in it")
            source = planned.content if planned.factor == 1.0 else None
            if not (isinstance(source, TensorRef) and _as_before(source, slot.tensor)) and (
                slot.tensor.shape != planned.shape or not _same(slot.tensor, planned, raw)
            ):
                raise _failed(f"{planned.kind.name} of {planned.variable} is not what was planned")
            if progress is not None:
                progress(planned.nbytes)
        _same_tree(result, optimizer, raw)
        _same_model(result, target, optimizer, raw)
    return raw.sums


def _same_tree(result: TrainingState, planned: PlannedOptimizer, raw: RawPlaces) -> None:
    """Every leaf of a chain is where it was planned, the empty ones too."""
    there = {leaf.path: leaf for leaf in result.leaves}
    for leaf in planned.tree:
        found = there.get(leaf.path)
        if found is None or (found.tensor is None) != (leaf.tensor is None):
            raise _failed(f"{'/'.join(leaf.path)} is not in it")
        if leaf.tensor is not None and found.tensor is not None:
            same = (found.tensor.dtype, found.tensor.shape) == (leaf.tensor.dtype, leaf.tensor.shape)
            if not same or not _same_values(leaf.tensor, found.tensor, raw):
                raise _failed(f"{'/'.join(leaf.path)} is not what was planned")


def _require_as_many(found: OptimizerState, target: TrainingState, planned: PlannedOptimizer, *, partial: bool) -> None:
    """Whatever a plan says: no slot is planned twice, and none of a target's is lost unless that was asked for."""
    if len({(each.variable, each.kind.role, each.kind.name) for each in planned.slots}) < len(planned.slots):
        raise _failed("a slot is planned twice")
    if not is_unrecorded(target, found.name) and len(found.slots) < len(planned.slots):
        raise _failed(f"it holds {len(found.slots)} slots instead of {len(planned.slots)}")
    if not partial:
        own = [each for each in target.optimizers if each.name == planned.name] or list(target.optimizers)
        require_no_fewer(own[0] if len(own) == 1 else None, planned.slots)


def _by_place(found: OptimizerState, planned: PlannedOptimizer) -> dict[tuple[str | None, Role | str], Slot]:
    """The slots of a list, which names no variables: the n-th of a quantity is the n-th planned one's."""
    places: dict[Role | str, list[Slot]] = {}
    for slot in reversed(found.slots):
        places.setdefault(quantity(slot.role, slot.name), []).append(slot)
    planned_places = [(each.variable, quantity(each.kind.role, each.kind.name)) for each in planned.slots]
    return {(variable, what): places[what].pop() for variable, what in planned_places if places.get(what)}


def _optimizer(result: TrainingState, planned: PlannedOptimizer) -> OptimizerState:
    options = [each for each in result.optimizers if each.has_state or each.stored is not None]
    named = [each for each in options if each.name == planned.name]
    if not (named or options):
        raise _failed("it holds no optimizer state")
    return (named or options)[0]


def _as_before(source: TensorRef, written: TensorRef) -> bool:
    """Whether a tensor is known to be its source without reading both.

    It is the same bytes of one file; or its source's index has a checksum, and what was written has it too.
    """
    if _shared(source, written):
        return True
    first, second = source.location, written.location
    if not isinstance(first, FileRange) or not isinstance(second, FileRange) or first.crc32c is None:
        return False
    if (source.dtype, source.shape, first.crc32c) != (written.dtype, written.shape, second.crc32c):
        return False
    with RegularFile(second.path) as file:
        crc = masked_crc32c_in(file, second.offset, second.nbytes)
    if crc != first.crc32c:
        raise _failed(f"the checksum of {written.key} is not its source's")
    return True


def _shared(one: TensorRef, other: TensorRef) -> bool:
    """Whether two references are the same bytes of one file (a hard link): then there is nothing to compare."""
    first, second = one.location, other.location
    if not isinstance(first, FileRange) or not isinstance(second, FileRange):
        return False
    place = (first.offset, first.nbytes, one.dtype, one.shape) == (
        second.offset,
        second.nbytes,
        other.dtype,
        other.shape,
    )
    return place and os.path.samefile(first.path, second.path)


def _failed(what: str) -> GraftRefused:
    return GraftRefused(f"the result was read back and {what}; nothing was written. This is a defect of ckptdoctor")


def _same(written: TensorRef, planned: PlannedSlot, raw: RawPlaces) -> bool:
    import numpy as np

    source = planned.content
    if isinstance(source, TensorRef) and planned.factor == 1.0 and planned.dtype == source.dtype:
        same = raw.same(source, written)
        if same is not None:
            return same
    wanted = _expected(planned)
    for got in ordered_chunks(written, _CHUNK):
        have = np.asarray(got)
        while have.size:
            want = next(wanted, None)
            if want is None:
                return False
            size = min(have.size, want.size)
            if not _equal(have[:size], want[:size]):
                return False
            if want.size > size:
                wanted = _before(want[size:], wanted)
            have = have[size:]
    return next(wanted, None) is None


def _before(first: NDArray[Any], rest: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    yield first
    yield from rest


def _equal(have: NDArray[Any], want: NDArray[Any]) -> bool:
    """The same bytes, NaN included; the same values where the types differ."""
    if have.dtype == want.dtype:
        return have.shape == want.shape and bool((_bits(have) == _bits(want)).all())
    return bool((have.astype(want.dtype) == want).all())


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """The values as unsigned integers of their size, which compare as fast as memory is read."""
    import numpy as np

    itemsize = values.dtype.itemsize
    return np.ascontiguousarray(values).view(f"u{itemsize}" if itemsize in {1, 2, 4, 8} else "u1")


def _expected(planned: PlannedSlot) -> Iterator[NDArray[Any]]:
    """The planned values, in the type that was planned."""
    content = planned.content
    if isinstance(content, TensorRef):
        for chunk in ordered_chunks(content, _CHUNK):
            yield scaled(chunk, planned)
    else:
        size = planned.nbytes // numpy_dtype(planned.dtype).itemsize
        yield from filled(content.value if content else 0.0, planned.dtype, size)


def scaled(chunk: NDArray[Any], planned: PlannedSlot) -> NDArray[Any]:
    """A piece of the donor's values as the plan wants them: multiplied in float64, in the planned type."""
    dtype = numpy_dtype(planned.dtype)
    if planned.factor != 1.0:
        scaled_up: NDArray[Any] = (chunk.astype("float64") * planned.factor).astype(dtype)
        return scaled_up
    return chunk if chunk.dtype == dtype else chunk.astype(dtype)


def _same_neighbours(
    result: TrainingState,
    target: TrainingState,
    planned: PlannedOptimizer,
    same: Callable[[TensorRef, TensorRef], bool],
) -> None:
    """Other optimizers of a file of PyTorch, whose tensors may be called alike in several files."""
    own = own_of(target, planned)
    there = {each.name: each for each in result.optimizers}
    for each in target.optimizers:
        if each is own or each.stored is None:
            continue
        after = there.get(each.name)
        if after is None:
            raise _failed(f"the target's optimizer {each.name} is not in it")
        require_same_state_dict(after, PlannedStateDict(each.stored, ()), same)


def _same_model(result: TrainingState, target: TrainingState, planned: PlannedOptimizer, raw: RawPlaces) -> None:
    """What the plan leaves alone is in the result as it was: the model, and whatever is not its optimizer's."""
    same_weights(result, target, raw)
    there = by_key(result)
    for what, before in untouched(target, planned):
        after = there.get(before.key)
        if after is None or after.shape != before.shape or after.dtype != before.dtype:
            raise _failed(f"{what} ({before.key}) is not in it as it was")
        if not _same_values(before, after, raw):
            raise _failed(f"{what} ({before.key}) has changed")


def same_weights(result: TrainingState, target: TrainingState, raw: RawPlaces) -> None:
    """Checks that a result has the target's model variables, bit for bit.

    Raises:
        GraftRefused: It has not.
    """
    theirs = {variable.path: variable.tensor for variable in target.variables if variable.tensor.location is not None}
    ours = {variable.path: variable.tensor for variable in result.variables}
    for path, before in theirs.items():
        after = ours.get(path)
        if after is None or after.shape != before.shape or after.dtype != before.dtype:
            raise _failed(f"the model variable {path} is not in it as it was")
        if not _same_values(before, after, raw):
            raise _failed(f"the model variable {path} has changed")


def hold_values(result: TrainingState, original: TrainingState, values: Iterable[NewValue]) -> None:
    """Checks that a copy holds these values, and every other tensor as it was, bit for bit.

    Raises:
        GraftRefused: It does not.
    """
    new = {each.tensor.key: each.content for each in values}
    there = by_key(result)
    with kept_open(), RawPlaces() as places:
        for key, before in by_key(original).items():
            after, wanted = there.get(key), new.get(key, before)
            if before.location is None:
                continue
            if after is None or after.shape != before.shape or after.dtype != before.dtype:
                raise _failed(f"{key} is not in it as it was")
            held = _is_all(after, wanted.value) if isinstance(wanted, Constant) else _same_values(wanted, after, places)
            if not held:
                raise _failed(f"{key} is not what was planned")


def _is_all(ref: TensorRef, value: float) -> bool:
    import numpy as np

    return all(_equal(chunk, np.full_like(chunk, value)) for chunk in map(np.asarray, ordered_chunks(ref, _CHUNK)))


def _same_values(before: TensorRef, after: TensorRef, raw: RawPlaces) -> bool:
    if before.dtype == "string" or _as_before(before, after):
        return True
    same = raw.same(before, after)
    return same if same is not None else all(_equal(*pair) for pair in paired_chunks(before, after, _CHUNK))
