"""Which files `.weights.json` lists: the shards of weights that are too large for one (Keras' ShardedH5IOStore)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

MAX_SHARDS = 10_000

_ENDING = ".weights.h5"
_SHARD = r"(?s)(?P<whole>.+?)(?:_\d+)?\.weights\.h5\Z"


def shards(path: str) -> dict[str, list[str]]:
    """The shards that a JSON lists, each with the groups that it holds.

    Raises:
        UnreadableArtifact: It is no such JSON, or names what is no file beside it.
        LimitExceeded: It is too large, or lists too many.
    """
    from ckptdoctor.containers.strict_json import MAX_BYTES, parse_object

    name = os.path.basename(path)
    with RegularFile(path) as file:
        if file.size > MAX_BYTES:
            raise LimitExceeded(f"is larger than the {MAX_BYTES:,} bytes that are read", path, place=name)
        document = parse_object(file.read(0, file.size), path, name)
    mapping = document.get("weight_map")
    if not isinstance(mapping, Mapping):
        raise UnreadableArtifact("has no weight_map: these are no sharded weights", path, place=name)
    found: dict[str, list[str]] = {}
    for group, names in mapping.items():
        for each in [names] if isinstance(names, str) else names if isinstance(names, list) else []:
            found.setdefault(_safe(each, path), []).append(str(group))
    if len(found) > MAX_SHARDS:
        raise LimitExceeded(f"lists {len(found):,} shards; {MAX_SHARDS:,} are read", path)
    return found


def _safe(name: object, path: str) -> str:
    """A shard's name, if it is a file beside the JSON and nothing else."""
    if (
        isinstance(name, str)
        and name
        and os.path.basename(name) == name
        and name not in {".", ".."}
        and "\0" not in name
    ):
        return name
    raise UnreadableArtifact(f"names a shard {name!r}, which is no file beside it", path, place="weight_map")


def is_map(path: str) -> bool:
    """Whether a file of weights is such a JSON, rather than HDF5."""
    with RegularFile(path) as file:
        return file.size > 0 and file.read(0, 1) == b"{"


def ending_as(target: str) -> str:
    """The ending under which Keras loads a copy of a target."""
    return ".weights.json" if is_map(target) else _ENDING


def whole_of(path: str) -> str | None:
    """The JSON that a file is a shard of: `model.weights.json` for `model_00001.weights.h5`, if it lists that name."""
    match = re.match(_SHARD, path) if path.endswith(_ENDING) else None
    if match is None:
        return None
    whole = f"{match['whole']}.weights.json"
    try:
        seen = storage.stat(whole)
    except (OSError, ValueError):
        return None
    return whole if os.path.basename(path) in _listed(whole, seen.st_mtime_ns, seen.st_size) else None


@lru_cache(maxsize=16)
def _listed(path: str, _time: int, _size: int) -> frozenset[str]:
    """The names of the shards, read once for all of them; none where the JSON cannot be read."""
    try:
        return frozenset(shards(path))
    except UnreadableArtifact:
        return frozenset()
