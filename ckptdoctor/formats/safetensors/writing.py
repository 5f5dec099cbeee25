"""Weights as safetensors: one file, or shards with the index that Hugging Face's libraries read.

Source: huggingface_hub/serialization/_base.py (`split_state_dict_into_shards_factory`).
"""

from __future__ import annotations

import json
import os

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.safetensors_writing import write_safetensors
from ckptdoctor.containers.tensors.putting import nbytes_of
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.references import TensorRef
from ckptdoctor.state import TrainingState

MAX_SHARD = 5_000_000_000
"""Bytes of a shard, as Hugging Face's libraries have it."""
_METADATA = {"format": "pt"}


def create(
    state: TrainingState, source: str, output: str, *, max_shard: int = MAX_SHARD, progress: Progress | None = None
) -> Written:
    """Writes the weights of an artifact.

    Args:
        state: What it holds.
        source: Where it is.
        output: A file; or a directory, which gets `model.safetensors`, in shards where it is large.
        max_shard: Bytes of tensors in a shard.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: There are no weights, or some that the format has no place for.
        UnreadableArtifact: It is broken.
    """
    tensors, notes = weights(state)
    if not tensors:
        raise GraftRefused("it holds no weights", source)
    if output.endswith(".safetensors"):
        return Written(tuple(notes), write_safetensors(output, tensors, _METADATA, progress))
    os.mkdir(output)
    return Written(tuple(notes), write_shards(output, tensors, max_shard, progress))


def weights(state: TrainingState) -> tuple[dict[str, TensorRef], list[str]]:
    """A model's tensors, tied ones once, and sentences about what is not among them."""
    found: dict[str, TensorRef] = {}
    seen: dict[object, str] = {}
    tied = []
    for each in state.variables:
        if not each.tensor.dtype:
            continue  # of an optimizer that was saved alone: only its place is known
        location = each.tensor.location
        if location is None and each.tensor.size:
            raise GraftRefused(f"the values of {each.path} ({each.tensor.dtype}) cannot be read", state.path)
        name = seen.setdefault(location, each.path) if each.tensor.size else each.path
        if name != each.path:
            tied.append(f"{each.path} (as {name})")
            continue
        found[each.path.replace("/", ".")] = each.tensor
    notes = [f"tied weights are written once, as the format wants it: {', '.join(tied[:6])}"] if tied else []
    if any(each.has_state for each in state.optimizers):
        notes.append("its optimizer state stays behind: safetensors has weights alone")
    return found, notes


def write_shards(
    folder: str,
    tensors: dict[str, TensorRef],
    max_shard: int = MAX_SHARD,
    progress: Progress | None = None,
    *,
    stem: str = "model",
) -> int:
    """Writes `model.safetensors`, or shards of it and their index; answers how many bytes."""
    shards: list[dict[str, TensorRef]] = [{}]
    held = 0
    for name, ref in tensors.items():
        if shards[-1] and held + nbytes_of(ref) > max_shard:
            shards.append({})
            held = 0
        shards[-1][name] = ref
        held += nbytes_of(ref)
    if len(shards) == 1:
        return write_safetensors(os.path.join(folder, f"{stem}.safetensors"), shards[0], _METADATA, progress)
    names = [f"{stem}-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    written = sum(
        write_safetensors(os.path.join(folder, name), shard, _METADATA, progress)
        for name, shard in zip(names, shards, strict=True)
    )
    index = {
        "metadata": {"total_size": sum(map(nbytes_of, tensors.values()))},
        "weight_map": {key: name for name, shard in zip(names, shards, strict=True) for key in shard},
    }
    with open(os.path.join(folder, f"{stem}.safetensors.index.json"), "x", encoding="utf-8") as stream:
        json.dump(index, stream, indent=2)
    return written
