"""Writing optimizer state into sharded weights: `.weights.json` and the HDF5 files that it maps groups to.

Keras opens the shards by the names in the JSON, but also the first one by the JSON's own name (`ShardedH5IOStore`), so
that all are renamed after the output. The state goes into shards of its own, none larger than the target's largest.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.hdf5.editing import Edit, NewDataset, Sizes, create_file, edit_file
from ckptdoctor.containers.hdf5.file import H5File
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.formats.keras.shard_map import MAX_SHARDS


class _Shard(NamedTuple):
    """A shard of the target: its path, the groups that it holds but for the optimizer's, and their bytes."""

    path: str
    groups: tuple[str, ...]
    nbytes: int


def write_shards(
    target: str,
    output: str,
    edit: Edit,
    progress: Progress | None = None,
) -> Sizes:
    """Writes a JSON and its shards.

    Args:
        target: The JSON that is completed.
        output: The JSON that is written; its shards go beside it.
        edit: The edit that a single file would get.
        progress: Told how many more bytes are written.
    """
    document = _document(target)
    shards = [_examined(path, edit.delete) for path in _shard_paths(document, target)]
    kept = [shard for shard in shards if shard.groups] or shards[:1]
    limit = max((shard.nbytes for shard in kept), default=0)
    names = _names(output)
    weight_map: dict[str, list[str]] = {}
    new = copied = total = 0
    for shard in kept:
        name = next(names)
        own = Edit(delete=edit.delete, anew=edit.anew)
        copied += edit_file(shard.path, _beside(output, name), own, progress).copied
        total += shard.nbytes
        for group in shard.groups:
            weight_map.setdefault(f"/{group}", []).append(name)
    for part in _parts(edit.datasets, limit):
        name = next(names)
        groups = tuple(dict.fromkeys(each.path.rpartition("/")[0] for each in part))
        texts = {key: text for key, text in edit.texts.items() if key[0] in groups}
        new += create_file(_beside(output, name), Edit(datasets=tuple(part), texts=texts), progress)
        total += sum(array_nbytes(each.dtype, each.shape) for each in part)
        for group in groups:
            weight_map.setdefault(f"/{group}", []).append(name)
    _write_map(document, weight_map, total, output)
    return Sizes(new, copied)


def refill_shards(target: str, output: str, values: Sequence[NewDataset], progress: Progress | None = None) -> None:
    """Writes a JSON and its shards with other values in data sets that are there; a name means that in the first shard.

    Args:
        target: The JSON.
        output: The JSON that is written; its shards go beside it, under names of its own.
        values: The data sets.
        progress: Told how many more bytes are written.
    """
    document = _document(target)
    left = {each.path: each for each in values}
    renamed: dict[str, str] = {}
    for path, name in zip(_shard_paths(document, target), _names(output), strict=False):
        with H5File(path) as file:
            held = {f"{group}/{each}" for group, _, names in file.walk() for each in names}
        own = tuple(left.pop(key) for key in held & left.keys())
        edit_file(path, _beside(output, name), Edit(values=own), progress)
        renamed[os.path.basename(path)] = name
    mapping = document["weight_map"]
    assert isinstance(mapping, Mapping)  # noqa: S101 - `_shard_paths` has said so
    weight_map = {
        group: renamed[each] if isinstance(each, str) else [renamed[one] for one in each]
        for group, each in mapping.items()
    }
    with open(output, "x", encoding="utf-8") as stream:
        json.dump({**document, "weight_map": weight_map}, stream, indent=4)


def _document(target: str) -> dict[str, object]:
    with RegularFile(target) as file:
        return parse_object(file.read(0, file.size, "the weight map"), target, os.path.basename(target))


def opened_shards(target: str) -> Iterator[H5File]:
    """Every shard that a JSON names, open while it is looked at."""
    for path in _shard_paths(_document(target), target):
        with H5File(path) as file:
            yield file


def _write_map(document: Mapping[str, object], weight_map: Mapping[str, list[str]], total: int, output: str) -> None:
    metadata = document.get("metadata")
    about = dict(metadata) if isinstance(metadata, Mapping) else {}
    written = {**document, "metadata": {**about, "total_size": float(total)}, "weight_map": weight_map}
    with open(output, "x", encoding="utf-8") as stream:
        json.dump(written, stream, indent=4)


def _shard_paths(document: Mapping[str, object], target: str) -> list[str]:
    """The shards in the order in which they were written; each is a file beside the JSON."""
    mapping = document.get("weight_map")
    if not isinstance(mapping, Mapping):
        raise UnreadableArtifact("has no weight_map: these are no sharded weights", target)
    names: set[str] = set()
    for value in mapping.values():
        for name in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            if not isinstance(name, str) or os.path.basename(name) != name or name in {"", ".", ".."}:
                raise UnreadableArtifact(f"names a shard {name!r}, which is no file beside it", target)
            names.add(name)
    if len(names) > MAX_SHARDS:
        raise LimitExceeded(f"lists {len(names):,} shards; {MAX_SHARDS:,} are read", target)
    paths = [os.path.join(os.path.dirname(target), name) for name in sorted(names)]
    missing = [os.path.basename(path) for path in paths if not os.path.isfile(path)]
    if missing:
        raise UnreadableArtifact(f"shards are missing: {', '.join(missing[:5])}", target)
    return paths


def _examined(path: str, leaving: tuple[str, ...]) -> _Shard:
    with H5File(path) as file:
        groups: list[str] = []
        total = 0
        for group, _, datasets in file.walk():
            if not datasets or any(f"{group}/".startswith(f"{each}/") for each in leaving):
                continue
            groups.append(group)
            tensors = [file.tensor(f"{group}/{name}") for name in datasets]
            total += sum(array_nbytes(each.dtype, each.shape) for each in tensors if each is not None)
        return _Shard(path, tuple(groups), total)


def _parts(datasets: tuple[NewDataset, ...], limit: int) -> Iterator[list[NewDataset]]:
    """The new data sets in runs of at most `limit` bytes, or one data set."""
    part: list[NewDataset] = []
    size = 0
    for each in datasets:
        nbytes = array_nbytes(each.dtype, each.shape)
        if part and size + nbytes > limit:
            yield part
            part, size = [], 0
        part.append(each)
        size += nbytes
    if part:
        yield part


def _names(output: str) -> Iterator[str]:
    """`run_00000.weights.h5` and so on for `run.weights.json` (`ShardedH5IOStore._create_new_shard_file`)."""
    base = os.path.splitext(os.path.basename(output))[0].replace(".weights", "")
    for number in range(MAX_SHARDS):
        yield f"{base}_{number:05}.weights.h5"


def _beside(output: str, name: str) -> str:
    return os.path.join(os.path.dirname(output), name)
