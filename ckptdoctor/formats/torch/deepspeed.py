"""DeepSpeed's checkpoints, ZeRO stages 0 to 3: flat partitions of all ranks, mapped back to parameters by name.

Stage 0 keeps the optimizer in the file of the model. Stages 1 and 2 flatten each group and cut it into one partition a
rank; `param_slice_mappings` says which parameter lies where. Stage 3 cuts every parameter: each rank has a part of
each, one after the other in the order of `param_shapes`. Sources: deepspeed/runtime/zero, stage_1_and_2.py, stage3.py;
utils/zero_to_fp32.py of 0.19; measured with 1 and 2 ranks.
"""

import os
import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from ckptdoctor.containers.pickles.reading import Key, Node, Thing
from ckptdoctor.containers.pickles.values import NotThese, shape_of
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.torch.assembly import assemble
from ckptdoctor.formats.torch.contents import Contents, Fields, Model, add
from ckptdoctor.formats.torch.parts import listed, load_part
from ckptdoctor.formats.torch.safety import noticed
from ckptdoctor.references import FileRange, Piece, Pieces, TensorRef
from ckptdoctor.state import Format, Oddity, Producer, TrainingState

_MODEL = re.compile(r"(?:zero_pp_rank_(?P<rank>\d{1,6})_)?mp_rank_00_model_states\.pt\Z")
_OPTIMIZER = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(?P<rank>\d{1,6})_mp_rank_00_optim_states\.pt\Z")
STATE = "optimizer_state_dict"
_BASES = ("base_optimizer_state", STATE)
"""Where in that the state of the optimizer is: in stages 1 and 2, and in stage 3."""
_APART = frozenset({"module", "optimizer", "ds_config", "param_shapes", "frozen_param_shapes", "buffer_names"})
_CUT_EACH = 3
"""The stage that cuts every parameter."""

Shape = tuple[int, ...]


class Rank(NamedTuple):
    """One rank's partitions.

    Attributes:
        states: The state of each group: names → flat tensors, and what is no tensor.
        masters: The weights in float32, a flat tensor a group.
        slices: Of each group, parameter → (first element, elements) in this rank's partition.
        groups: Settings of each group.
    """

    states: list[Fields]
    masters: list[TensorRef]
    slices: list[dict[str, tuple[int, int]]]
    groups: list[Fields]


class Launched(NamedTuple):
    """How a checkpoint was saved.

    Attributes:
        file: Name of the first rank's file of the model.
        ranks: How many ranks saved it.
        by_program: Its configuration names no optimizer: the program made one.
    """

    file: str
    ranks: int
    by_program: bool


def launched(path: str) -> Launched:
    """How a checkpoint was saved, which is how it is loaded.

    Raises:
        UnreadableArtifact: It is broken.
    """
    name = model_files(path)[0]
    root = load_part(path, name).root
    fields = root if isinstance(root, dict) else {}
    world, config = fields.get("dp_world_size"), fields.get("ds_config")
    return Launched(
        name,
        world if isinstance(world, int) and world > 0 else 1,
        isinstance(config, Mapping) and "optimizer" not in config,
    )


class Partitions(NamedTuple):
    """The partitions of all ranks.

    Attributes:
        files: Rank → name of its file.
        ranks: The ranks; None for one whose file is missing.
        shapes: Of each group, parameter → shape, in the order of the partitions.
        stage: The stage of ZeRO.
    """

    files: Mapping[int, str]
    ranks: list[Rank | None]
    shapes: list[dict[str, Shape]]
    stage: int

    def cut(self, number: int) -> "_Pieces":
        """Of each parameter of a group: (rank, first element in its partition, elements), one after the other."""
        cut = _cut_each if self.stage == _CUT_EACH else _cut_groups
        return cut(self.ranks, number, self.shapes[number])


def read(path: str) -> TrainingState:
    """Reads the directory of a tag.

    Raises:
        UnreadableArtifact: A part of it is broken.
    """
    model, *_ = model_files(path)
    loaded = load_part(path, model)
    root = loaded.root
    if not isinstance(root, dict):
        raise UnreadableArtifact("holds no dictionary", os.path.join(path, model))
    found, oddities = Contents(), list(noticed(loaded, model))
    for key, value in root.items():
        if key not in _APART and isinstance(key, str):
            add({key: value}, "", found)
    version = root.get("ds_version")
    held = partitions(path, root, oddities)
    if held is not None:
        _partitioned(held, root, found)
    else:
        add({key: root[key] for key in ("module", "optimizer") if root.get(key) is not None}, "", found)
    with kept_open():
        producer = Producer("deepspeed", version[:40] if isinstance(version, str) else None)
        return assemble(path, Format.DEEPSPEED, producer, found, oddities)


def model_files(path: str) -> list[str]:
    """Files of the model's states, the first rank's first: stage 3 has one a rank.

    Raises:
        UnreadableArtifact: There are none.
    """
    models = [name for name in listed(path) if _MODEL.match(name)]
    if not models:
        raise UnreadableArtifact("has no model states of its first rank", path)
    return models


def partitions(path: str, root: Fields, oddities: list[Oddity]) -> Partitions | None:
    """The ranks' partitions; None where the file of the model has the optimizer.

    Args:
        path: The directory of a tag.
        root: What the file of the model holds.
        oddities: Gets what was noticed.

    Raises:
        UnreadableArtifact: One of them is broken.
    """
    files = {int(told["rank"]): name for name in listed(path) if (told := _OPTIMIZER.match(name))}
    if not files:
        return None
    said = root.get("dp_world_size")
    world = said if isinstance(said, int) and 0 < said <= 1 << 16 else max(files) + 1
    missing = [rank for rank in range(world) if rank not in files]
    if missing:
        oddities.append(Oddity("S022", f"the optimizer states of {len(missing)} of {world} ranks are missing"))
    ranks: list[Rank | None] = [None] * world
    stage = 0
    for rank, name in files.items():
        if rank < world:
            one = load_part(path, name)
            oddities += noticed(one, name)
            stage, ranks[rank] = _rank(one.root, os.path.join(path, name))
    return Partitions(files, ranks, _shapes(root.get("param_shapes"), path), stage)


def _partitioned(held: Partitions, root: Fields, found: Contents) -> None:
    """Puts the ranks' partitions together."""
    ranks, shapes = held.ranks, held.shapes
    first = next(each for each in ranks if each is not None)
    state: dict[Key, Node] = {}
    weights: dict[str, TensorRef] = {}
    groups: list[Node] = []
    for number, group in enumerate(shapes):
        settings = first.groups[number] if number < len(first.groups) else {}
        groups.append({**settings, "params": list(group)})
        pieces = held.cut(number)
        for name, shape in group.items():
            kept = first.states[number] if number < len(first.states) else {}
            state[name] = {
                slot: _joined(f"{STATE}/state/{name}/{slot}", shape, value, pieces[name], ranks, number, slot)
                for slot, value in kept.items()
                if isinstance(slot, str)
            }
            master = first.masters[number] if number < len(first.masters) else None
            whole = _joined(name, shape, master, pieces[name], ranks, number, None)
            if isinstance(whole, TensorRef):
                weights[name] = whole
    found.optimizers[STATE] = {"state": state, "param_groups": groups}
    add({"module": root.get("module")}, "", found)
    half = any(ref.dtype != "float32" for each in found.models for ref in each.tensors.values())
    if held.stage == _CUT_EACH or (
        half and weights
    ):  # training goes on with the masters; of stage 3, `module` is empty
        found.others += [ref for each in found.models for ref in each.tensors.values() if ref.size]
        found.models[:] = [Model("module", weights)]


def _rank(root: Node, path: str) -> tuple[int, Rank]:
    """A rank's optimizer states, and the stage that wrote them."""
    held = root.get(STATE) if isinstance(root, dict) else None
    if not isinstance(held, dict):
        raise UnreadableArtifact(f"has no {STATE}", path)
    kind = held.get("zero_stage")
    stage = kind.args[0] if isinstance(kind, Thing) and kind.args else kind
    base = held.get(base_of(held))
    own = base.get("state") if isinstance(base, dict) else None
    groups = base.get("param_groups") if isinstance(base, dict) else None
    states = list(own.values()) if isinstance(own, dict) else []
    masters = held.get("single_partition_of_fp32_groups", held.get("fp32_flat_groups"))
    slices = held.get("param_slice_mappings")
    return stage if isinstance(stage, int) else 0, Rank(
        [each if isinstance(each, dict) else {} for each in states],
        [each for each in _list(masters) if isinstance(each, TensorRef)],
        [_addresses(each) for each in _list(slices)],
        [each for each in _list(groups) if isinstance(each, dict)],
    )


def base_of(held: Fields) -> str:
    """The key of the optimizer's state in a rank's."""
    return next((key for key in _BASES if key in held), _BASES[0])


def _list(value: Node) -> Sequence[Node]:
    return value if isinstance(value, (list, tuple)) and not isinstance(value, TensorRef) else ()


def _addresses(mapping: Node) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, address in mapping.items() if isinstance(mapping, dict) else ():
        fields = address.fields if isinstance(address, Thing) else {}
        start, numel = fields.get("start"), fields.get("numel")
        if isinstance(name, str) and isinstance(start, int) and isinstance(numel, int) and start >= 0 <= numel:
            found[name] = (start, numel)
    return found


def _shapes(listed: Node, path: str) -> list[dict[str, Shape]]:
    """Of each group, parameter → shape, in the order of the partitions."""
    found: list[dict[str, Shape]] = []
    try:
        for group in _list(listed):
            items = group.items() if isinstance(group, dict) else ()
            found.append({str(name): shape_of(shape) for name, shape in items if isinstance(name, str)})
    except NotThese as error:
        raise UnreadableArtifact(f"has shapes of parameters that are none: {error}", path) from error
    return found


_Pieces = dict[str, list[tuple[int, int, int]]]
"""Parameter → (rank, first element in its partition, elements), one after the other."""


def _cut_groups(ranks: Sequence[Rank | None], number: int, group: Mapping[str, Shape]) -> _Pieces:
    """Stages 1 and 2: where each rank's mapping says; without one, one parameter after the other."""
    found: _Pieces = {name: [] for name in group}
    if any(each is not None and number < len(each.slices) for each in ranks):
        for rank, each in enumerate(ranks):
            for name, (start, numel) in (each.slices[number] if each and number < len(each.slices) else {}).items():
                if name in found:
                    found[name].append((rank, start, numel))
        return found
    sizes = [each.masters[number].size if each is not None and number < len(each.masters) else 0 for each in ranks]
    rank = at = 0
    for name, shape in group.items():
        left = prod(shape)
        while left and rank < len(ranks):
            some = min(left, sizes[rank] - at)
            found[name].append((rank, at, some))
            left, at = left - some, at + some
            if at >= sizes[rank]:
                rank, at = rank + 1, 0
    return found


def _cut_each(ranks: Sequence[Rank | None], _: int, group: Mapping[str, Shape]) -> _Pieces:
    """Stage 3: each rank has as much of each parameter; the last one's is filled up."""
    found: _Pieces = {}
    at = 0
    for name, shape in group.items():
        size = prod(shape)
        part = -(-size // len(ranks))
        found[name] = [(rank, at, min(part, size - rank * part)) for rank in range(len(ranks)) if size > rank * part]
        at += part
    return found


def _joined(
    key: str, shape: Shape, value: Node, pieces: Sequence[tuple[int, int, int]], ranks: Sequence[Rank | None],
    number: int, slot: str | None,
) -> Node:  # fmt: skip
    """A parameter's part of flat tensors; what is no flat tensor (the step) as it is."""
    if not isinstance(value, TensorRef) or not value.shape:
        return value
    parts: list[Piece] = []
    at = 0
    for rank, start, numel in pieces:
        flat = _flat(ranks[rank], number, slot)
        location = flat.location if flat is not None else None
        width = ITEMSIZE.get(value.dtype, 0)
        if not isinstance(location, FileRange) or (start + numel) * width > location.nbytes:
            return TensorRef(key, value.dtype, shape, None)
        inside = location._replace(offset=location.offset + start * width, nbytes=numel * width)
        parts.append(Piece((at,), (numel,), inside))
        at += numel
    if at != prod(shape):
        return TensorRef(key, value.dtype, shape, None)
    whole = parts[0].location if len(parts) == 1 else Pieces(tuple(parts))
    return TensorRef(key, value.dtype, shape, whole)


def _flat(rank: Rank | None, number: int, slot: str | None) -> TensorRef | None:
    if rank is None:
        return None
    if slot is None:
        return rank.masters[number] if number < len(rank.masters) else None
    found = rank.states[number].get(slot) if number < len(rank.states) else None
    return found if isinstance(found, TensorRef) else None
