"""An optimizer in DeepSpeed's checkpoints: each rank's flat partitions are filled from the parameters, by their names.

Weights and masters stay. Sources: deepspeed/runtime/zero, stage_1_and_2.py (`_rigid_load_state_dict`: a partition is as
long as it was, with its padding), stage3.py; runtime/engine.py (`load_checkpoint`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ckptdoctor.containers.bytes.copying import Progress, carry_tree
from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.torchfiles.writing.file import exchange
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.torch.contents import Fields, fields_of
from ckptdoctor.formats.torch.deepspeed import STATE, Partitions, base_of, model_files, partitions
from ckptdoctor.formats.torch.parts import load_part
from ckptdoctor.formats.torch.writing.sites import fields_at, path_to
from ckptdoctor.formats.torch.writing.state_dict import parts, planned_state
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedStateDict
from ckptdoctor.optimizers.torch.steps import STEP, step_of
from ckptdoctor.references import FileRange, Inline, Part, Piece, Pieces, TensorRef

_CALL = "load it on as many ranks with model_engine.load_checkpoint('.', tag='OUT')"
_FILLED = 1 << 20
"""Bytes of padding at a time."""


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for it.
    """
    _values(optimizer, target)


def write(
    optimizer: PlannedOptimizer, target: str, output: str, *, link: bool = False, progress: Progress | None = None
) -> Written:
    """Writes the directory of a tag with this optimizer.

    Args:
        optimizer: The optimizer.
        target: The directory that is completed.
        output: The directory that is written.
        link: Share the files that stay as they are.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: It has no place for it.
        UnreadableArtifact: An input is corrupt.
    """
    values = _values(optimizer, target)
    os.mkdir(output)
    linked, copied = carry_tree(target, output, frozenset(values), progress, link=link)
    new = 0
    for name, each in values.items():
        sizes = exchange(os.path.join(target, name), os.path.join(output, name), each, progress=progress)
        new, copied = new + sizes.new, copied + sizes.copied
    return Written((_CALL,), new, copied, linked)


def _values(optimizer: PlannedOptimizer, target: str) -> dict[str, dict[Path, Node]]:
    """File → what is in it from now on."""
    planned = planned_state(optimizer, target)
    models = model_files(target)
    root = fields_of(load_part(target, models[0]).root) or {}
    if root.get("mp_world_size", 1) != 1:
        raise GraftRefused("the target is of a model in parallel, whose other parts are not read here", target)
    held = partitions(target, root, [])
    found: dict[str, dict[Path, Node]] = {name: {} for name in models if planned.schedulers}
    for label, stored in planned.schedulers:
        for name in models:
            found[name][(label or "lr_scheduler",)] = dict(stored)
    if held is not None:
        return found | _partitioned(planned, held, target)
    at = path_to(dict(root), optimizer.name, target)
    own = {(*at, key): each for key, each in parts(planned, fields_at(dict(root), at)).items()}
    return {**found, models[0]: {**found.get(models[0], {}), **own}}


def _partitioned(planned: PlannedStateDict, held: Partitions, target: str) -> dict[str, dict[Path, Node]]:
    """The partitions of every rank."""
    sizes = tuple(map(len, held.shapes))
    if planned.stored.sizes != sizes:
        raise GraftRefused("DeepSpeed cuts partitions by its groups: leave --groups out", target)
    states = dict(zip(planned.variables, planned.stored.states, strict=True))
    groups = [_Group(held, number, states, target) for number in range(len(sizes))]
    found: dict[str, dict[Path, Node]] = {}
    for rank, name in held.files.items():
        if rank >= len(held.ranks):
            continue
        own = fields_of((fields_of(load_part(target, name).root) or {}).get(STATE)) or {}
        base = fields_of(own.get(base_of(own))) or {}
        keys = list(fields_of(base.get("state")) or {})
        listed = base.get("param_groups")
        members = [fields_of(each) or {} for each in listed] if isinstance(listed, list) else []
        if len(keys) != len(groups) or len(members) != len(groups):
            raise GraftRefused(f"{name} has not the state of each group: save the target after a step", target)
        front = (STATE, base_of(own))
        settings: list[Node] = [
            {**group, "params": own.get("params")} for group, own in zip(planned.stored.groups, members, strict=True)
        ]
        state: dict[Key, Node] = {key: each.of(rank) for key, each in zip(keys, groups, strict=True)}
        found[name] = {(*front, "state"): state, (*front, "param_groups"): settings}
    return found


class _Group:
    """The planned state of a group's parameters, as flat tensors."""

    def __init__(self, held: Partitions, number: int, states: Mapping[str | None, Fields | None], target: str) -> None:
        self._shapes = held.shapes[number]
        self._pieces = held.cut(number)
        self._kept = [
            each.states[number] if each is not None and number < len(each.states) else {} for each in held.ranks
        ]
        self._target = target
        self._states = {name: states.get(name) or {} for name in self._shapes}
        self._first = next(iter(self._states.values()), {})
        self._require_one()

    def _require_one(self) -> None:
        """Refuses state that flat tensors with one count have no place for.

        Raises:
            GraftRefused: It differs from parameter to parameter, or is not of their shapes, or a rank is missing.
        """
        for name, state in self._states.items():
            if (
                not state
                or state.keys() != self._first.keys()
                or step_of(state.get(STEP)) != step_of(self._first.get(STEP))
            ):
                raise GraftRefused(
                    f"DeepSpeed keeps the state of a whole group together, with one count, and {name} has another one "
                    "than the rest, or none: graft into one file (ckptdoctor convert), which keeps each by itself",
                    self._target,
                )
            for slot, each in state.items():
                if isinstance(each, TensorRef) and each.shape and each.shape != self._shapes[name]:
                    raise GraftRefused(
                        f"{slot!s} of {name} has not its shape, and DeepSpeed's partitions no other", self._target
                    )
        for rank, kept in enumerate(self._kept):
            if not kept:
                raise GraftRefused(
                    f"rank {rank} of the target has no state of a group: nothing tells its size", self._target
                )
            if (STEP in kept) != (STEP in self._first):
                raise GraftRefused("only one of donor and target counts in the state of parameters", self._target)

    def of(self, rank: int) -> dict[Key, Node]:
        """A rank's partition of each slot."""
        (size, dtype), *others = {
            (each.size, each.dtype) for each in self._kept[rank].values() if isinstance(each, TensorRef) and each.shape
        } or {(0, "")}
        if others:
            raise GraftRefused(f"the slots of rank {rank} of the target are not all of one size and type", self._target)
        return {
            slot: self._flat(str(slot), rank, size, dtype) if isinstance(each, TensorRef) and each.shape else each
            for slot, each in self._first.items()
        }

    def _flat(self, slot: str, rank: int, size: int, dtype: str) -> TensorRef:
        """One tensor of a rank: its parts of the parameters, and zeros between and behind them."""
        parts: list[Piece] = []
        at = 0
        for start, numel, ref, first in self._in_order(slot, rank):
            if start < at or start + numel > size:
                raise GraftRefused("the partitions of the target's parameters are one upon the other", self._target)
            if ref.dtype != dtype:
                raise GraftRefused(f"{ref.key} is {ref.dtype}, and the target's partitions are {dtype}", self._target)
            parts += _zeros(at, start, dtype)
            parts.append(Piece((start,), (numel,), _some(ref, first, numel)))
            at = start + numel
        parts += _zeros(at, size, dtype)
        return TensorRef(slot, dtype, (size,), Pieces(tuple(parts)))

    def _in_order(self, slot: str, rank: int) -> Iterator[tuple[int, int, TensorRef, int]]:
        """(first element in the partition, elements, the parameter's tensor, first element of that)."""
        found = []
        for name, pieces in self._pieces.items():
            first = 0
            for where, start, numel in pieces:
                ref = self._states[name][slot]
                if where == rank and numel and isinstance(ref, TensorRef):
                    found.append((start, numel, ref, first))
                first += numel
        yield from sorted(found, key=lambda each: each[0])


def _some(ref: TensorRef, first: int, numel: int) -> FileRange | Part:
    """Elements of a tensor."""
    location, width = ref.location, ITEMSIZE[ref.dtype]
    if isinstance(location, FileRange) and location.crc32c is None and not location.fortran_order:
        return location._replace(offset=location.offset + first * width, nbytes=numel * width)
    if location is None:
        raise GraftRefused(f"{ref.key} ({ref.dtype}) cannot be read from the donor")
    return Part(location, ref.shape, first)


def _zeros(start: int, end: int, dtype: str) -> Iterator[Piece]:
    step = _FILLED // ITEMSIZE[dtype]
    for at in range(start, end, step):
        size = min(step, end - at)
        yield Piece((at,), (size,), Inline(bytes(size * ITEMSIZE[dtype])))
