"""A Trainer's directory with its weights as safetensors, which newer versions load without unpickling anything."""

from __future__ import annotations

import os
import re

from ckptdoctor.containers.bytes.copying import Progress, copy_tree
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.safetensors.writing import MAX_SHARD, weights, write_shards
from ckptdoctor.state import Format, TrainingState

_PICKLED = re.compile(r"(?P<stem>pytorch_model|adapter_model)(?:-\d{5}-of-\d{5})?\.bin(?:\.index\.json)?\Z")
_STEMS = {"pytorch_model": "model", "adapter_model": "adapter_model"}


def create(
    state: TrainingState, source: str, output: str, *, max_shard: int = MAX_SHARD, progress: Progress | None = None
) -> Written:
    """Writes a copy of a directory in which the weights are safetensors; every other file is as it was.

    Args:
        state: What it holds.
        source: Where it is.
        output: The directory that is written.
        max_shard: Bytes of tensors in a shard.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: It is no Trainer's, or has no pickled weights.
        UnreadableArtifact: It is broken.
    """
    if state.format is not Format.HF_TRAINER:
        raise GraftRefused("a Trainer's directory is made of one with pickled weights alone", source)
    names = sorted(os.listdir(source))
    pickled = {name: told["stem"] for name in names if (told := _PICKLED.match(name))}
    if not pickled:
        raise GraftRefused("its weights are safetensors already: there is nothing to convert", source)
    tensors, notes = weights(state)
    os.mkdir(output)
    copied = copy_tree(source, output, frozenset(pickled), progress)
    stem = _STEMS[next(iter(pickled.values()))]
    new = write_shards(output, tensors, max_shard, progress, stem=stem)
    return Written(tuple(each for each in notes if "optimizer" not in each), new, copied)
