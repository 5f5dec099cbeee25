"""An optimizer in a directory of torch.distributed.checkpoint, under the keys that its program gives it there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ckptdoctor.containers.bytes.copying import Progress, carry_tree
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.torchfiles.distributed import METADATA, Directory, read_directory
from ckptdoctor.containers.torchfiles.writing import distributed as containers
from ckptdoctor.containers.torchfiles.writing.distributed import Added, FilePath, exchange
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.torch.contents import is_model
from ckptdoctor.formats.torch.writing.state_dict import planned_state
from ckptdoctor.formats.torch.writing.whole import Whole
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedStateDict
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, OptimizerState, TrainingState
from ckptdoctor.words import counted

_STATE, _GROUPS = "state", "param_groups"
_CALL = "load it with torch.distributed.checkpoint.load(state_dict, checkpoint_id='OUT')"


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for it.
    """
    _entries(optimizer, read_directory(target), target)


def write(
    optimizer: PlannedOptimizer, target: str, output: str, *, link: bool = False, progress: Progress | None = None
) -> Written:
    """Writes a directory with this optimizer.

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
    directory = read_directory(target)
    entries, gone = _entries(optimizer, directory, target)
    os.mkdir(output)
    linked, copied = carry_tree(target, output, frozenset({METADATA}), progress, link=link)
    new = exchange(target, output, entries, gone, progress)
    notes = [_CALL]
    if gone:
        notes.append(
            f"the bytes of {counted(len(gone), 'entry', 'entries')} that were replaced stay unused in its files"
        )
    return Written(tuple(notes), new, copied, linked)


def create(state: TrainingState, source: str, output: str, *, progress: Progress | None = None) -> Written:
    """Writes an artifact as a directory of one rank; optimizers by names, as `get_state_dict` has them, where known.

    Raises:
        GraftRefused: It is one already, or something in it cannot be written.
        UnreadableArtifact: It is broken.
    """
    if state.format is Format.TORCH_DCP:
        raise GraftRefused("it is a directory of torch.distributed.checkpoint already", source)
    whole = Whole(state, source)
    root = whole.root()
    if not isinstance(root, dict) or not root:
        raise GraftRefused("it is no dictionary with something in it, and entries of a directory have names", source)
    if is_model(root):
        root = {"model": root}
    known: dict[FilePath, OptimizerState] = {tuple(each.name.split("/")): each for each in state.optimizers}
    if whole.is_gathered and len(state.optimizers) == 1:
        known = {("optimizer",): state.optimizers[0]}
    paths = dict(_flattened(root, (), known))
    entries = {".".join(map(str, path)): Added(path, each) for path, each in paths.items()}
    if len(entries) < len(paths):
        raise GraftRefused(
            "two of its entries have one name where keys are joined by dots, as in such a directory", source
        )
    os.mkdir(output)
    return Written((_CALL, *whole.left()), containers.create(output, entries, progress))


def _flattened(node: Node, path: FilePath, known: Mapping[FilePath, OptimizerState]) -> Iterator[tuple[FilePath, Node]]:
    """Leaves by their paths: dictionaries and what has tensors in it are taken apart, all else is one object."""
    optimizer = known.get(tuple(map(str, path)))
    if optimizer is not None and optimizer.stored is not None:
        names = tuple(name for group in optimizer.groups for name in group.variables)
        planned = PlannedStateDict(optimizer.stored, names)
        by_name = None not in names
        called = [name if by_name and name is not None else str(number) for number, name in enumerate(names)]
        yield from (((*path, *rest), each) for rest, each in _nested(planned, called, by_name=by_name))
    elif isinstance(node, dict) and node:
        for name, each in node.items():
            yield from _flattened(each, (*path, name if isinstance(name, (str, int)) else str(name)), known)
    elif isinstance(node, list) and any(
        isinstance(each, TensorRef) or (isinstance(each, dict) and each) for each in node
    ):
        for number, each in enumerate(node):
            yield from _flattened(each, (*path, number), known)
    else:
        yield path, node


def _entries(optimizer: PlannedOptimizer, directory: Directory, target: str) -> tuple[dict[str, Added], list[str]]:
    """Key → entry of the new optimizer, and the keys of the old one."""
    planned = planned_state(optimizer, target)
    front: FilePath = tuple(optimizer.name.split("/")) if optimizer.name else ("optimizer",)
    old = {key: each.path for key, each in directory.entries.items() if is_within(each.path, front)}
    if not old:
        front = (planned.keys.get("optimizer", "optimizer"),)
    flat = any(_is_flat(path) for path in old.values())
    by_name = flat or _by_name(planned, old)
    names: list[str] = []
    for number, name in enumerate(planned.variables):
        if by_name and name is None:
            raise GraftRefused("the target keeps optimizer state by names, and one of the donor's parameters has none")
        names.append(name if by_name and name is not None else str(number))
    front = () if flat and any(len(path) == 1 for path in old.values()) else front
    paths = _flat(planned, names) if flat else _nested(planned, names, by_name=by_name)
    found = {".".join(map(str, (*front, *path))): Added((*front, *path), each) for path, each in paths}
    for label, stored in planned.schedulers:
        place = tuple((label or "scheduler").split("/"))
        if any(is_within(each.path, place) for each in directory.entries.values()) is (label is not None):
            old |= {key: each.path for key, each in directory.entries.items() if is_within(each.path, place)}
            found |= {".".join((*place, str(name))): Added((*place, str(name)), each) for name, each in stored.items()}
    return found, list(old)


def is_within(path: FilePath, front: FilePath) -> bool:
    """Whether an entry is below these keys; those of a flattened optimizer may be below none."""
    if path[: len(front)] == front:
        return True
    return front == ("optimizer",) and len(path) == 1 and _is_flat(path)


def _is_flat(path: FilePath) -> bool:
    """Whether a flattened optimizer's key: `state.hidden.weight.exp_avg` in one."""
    return str(path[-1]).partition(".")[0] in {_STATE, _GROUPS} and "." in str(path[-1])


def _by_name(planned: PlannedStateDict, old: Mapping[str, FilePath]) -> bool:
    """Whether states stand under names, as `get_state_dict` has them; so also where there are none yet."""
    keys = {str(path[path.index(_STATE) + 1]) for path in old.values() if _STATE in path[:-1]}
    if keys:
        return not all(key.isdecimal() for key in keys)
    return None not in planned.variables


def _nested(planned: PlannedStateDict, names: list[str], *, by_name: bool) -> Iterator[tuple[FilePath, Node]]:
    for name, state in zip(names, planned.stored.states, strict=True):
        for slot, each in (state or {}).items():
            yield (_STATE, name, str(slot)), each
    at = 0
    for number, (group, size) in enumerate(zip(planned.stored.groups, planned.stored.sizes, strict=True)):
        for setting, each in group.items():
            yield (_GROUPS, number, str(setting)), each
        members = names[at : at + size]
        yield (_GROUPS, number, "params"), [each if by_name else int(each) for each in members]
        at += size


def _flat(planned: PlannedStateDict, names: list[str]) -> Iterator[tuple[FilePath, Node]]:
    """One key a parameter and setting, as `flatten_optimizer_state_dict` has them."""
    rest = iter(zip(names, planned.stored.states, strict=True))
    for group, size in zip(planned.stored.groups, planned.stored.sizes, strict=True):
        for _ in range(size):
            name, state = next(rest)
            for slot, each in (state or {}).items():
                yield (f"{_STATE}.{name}.{slot}",), each
            for setting, each in group.items():
                yield (f"{_GROUPS}.{name}.{setting}",), each
