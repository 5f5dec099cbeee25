"""Keras' own files with other values in some of their data sets; everything else stays byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ckptdoctor.containers.bytes.copying import Progress, copy_tree
from ckptdoctor.containers.hdf5.editing import Edit, NewDataset, edit_file
from ckptdoctor.containers.hdf5.file import H5File
from ckptdoctor.containers.tensors.shard_data import NewValue, NewValues
from ckptdoctor.errors import Refused
from ckptdoctor.formats.keras.archive import WEIGHTS_H5
from ckptdoctor.formats.keras.optimizer_groups import VARS
from ckptdoctor.formats.keras.shard_map import is_map
from ckptdoctor.formats.keras.tree import INNER
from ckptdoctor.formats.keras.writing.archives import rewrite_archive
from ckptdoctor.references import H5Data, TensorRef

_ONLY_HDF5 = "it keeps its weights in an npz archive, which Keras itself does not load: save it as HDF5"


def refill_h5(values: NewValues, target: str, output: str, progress: Progress | None = None) -> NewValues:
    """Writes a whole-model HDF5 file with these values.

    Raises:
        UnreadableArtifact: It is broken.
    """
    edit_file(target, output, Edit(values=_datasets(values)), progress)
    return values


def refill_weights(values: NewValues, target: str, output: str, progress: Progress | None = None) -> NewValues:
    """Writes `.weights.h5`, or `.weights.json` with its shards, with these values.

    Raises:
        UnreadableArtifact: It is broken.
    """
    if is_map(target):
        from ckptdoctor.formats.keras.writing.shards import opened_shards, refill_shards

        every = (*values, *_twins(values, opened_shards(target)))
        refill_shards(target, output, _datasets(every), progress)
        return every
    with H5File(target) as file:
        every = (*values, *_twins(values, [file]))
    return refill_h5(every, target, output, progress)


def refill_archive(values: NewValues, target: str, output: str, progress: Progress | None = None) -> NewValues:
    """Writes a `.keras` archive, or the directory that one unpacks to, with these values.

    Raises:
        Refused: It keeps its weights in npz.
        UnreadableArtifact: It is broken.
    """
    if any(not isinstance(each.tensor.location, H5Data) for each in values):
        raise Refused(_ONLY_HDF5, target)
    if os.path.isdir(target):
        os.mkdir(output)
        copy_tree(target, output, frozenset({WEIGHTS_H5}), progress)
        return refill_weights(values, os.path.join(target, WEIGHTS_H5), os.path.join(output, WEIGHTS_H5), progress)
    with H5File(target, WEIGHTS_H5) as file:
        every = (*values, *_twins(values, [file]))
    rewrite_archive(target, output, Edit(values=_datasets(every)), {}, 0, progress)
    return every


def _datasets(values: NewValues) -> tuple[NewDataset, ...]:
    return tuple(NewDataset(each.tensor.key, each.tensor.dtype, each.tensor.shape, each.content) for each in values)


def _twins(values: NewValues, files: Iterable[H5File]) -> Iterator[NewValue]:
    """The same for what a LossScaleOptimizer writes a second time: its own list ends with that of the one in it."""
    groups = {each.tensor.key.rpartition("/")[0] for each in values}
    wanted = {each for group in groups for each in (group, *_inner(group))}
    held: dict[str, dict[str, TensorRef]] = {}
    for file in files:
        for group in filter(file.has_group, wanted):
            found = ((name, file.tensor(f"{group}/{name}")) for name in file.children(group)[1])
            held.setdefault(group, {}).update({name: ref for name, ref in found if ref is not None})
    for each in values:
        group, _, name = each.tensor.key.rpartition("/")
        for inner in filter(held.__contains__, _inner(group)):
            own = len(held[group]) - len(held[inner])
            twin = held[inner].get(str(int(name) - own)) if name.isdecimal() else None
            if twin is not None and twin[1:3] == each.tensor[1:3]:
                yield each._replace(tensor=twin)


def _inner(group: str) -> tuple[str, ...]:
    """The group of the optimizer in the one of this group; Windows puts a backslash before it."""
    owner = group.removesuffix(f"/{VARS}")
    return () if owner == group else tuple(f"{owner}{separator}{INNER}/{VARS}" for separator in "/\\")
