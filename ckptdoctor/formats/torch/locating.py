"""Which directories are artifacts of PyTorch's trainers, and which of several checkpoints of a run is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import Unreachable, UnreadableArtifact
from ckptdoctor.formats.contract import Pointer, Target
from ckptdoctor.state import Oddity
from ckptdoctor.words import counted

_STATE = "trainer_state.json"
_METADATA = ".metadata"
_NUMBER = re.compile(r"\d{1,18}\Z")
_MOST_TAGS = 1_000
_LONGEST = 80
"""Characters of what `latest` names that are told."""
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_STATES = (".pt", ".pth", ".ckpt", ".pkl")
_CONFIGURATIONS = {"config.json", "adapter_config.json"}
"""Beside the weights of a model on the Hugging Face Hub, and of peft's adapter."""
_RUN = re.compile(r"checkpoint-(\d{1,18})\Z")
_AUTOMATIC = re.compile(r"checkpoint_(\d{1,18})\Z")
_RANDOM = re.compile(r"random_states_\d+\.pkl\Z")
_MODEL_STATES = re.compile(r"(?:zero_pp_rank_\d+_)?mp_rank_\d+_model_states\.pt\Z")


def claim(given: str, path: str, names: AbstractSet[str]) -> Target | None:
    """The artifact that a directory is; None if it is none of these."""
    reader = kind_of(names)
    if reader is None and _METADATA in names and _is_distributed(path):
        reader = "torch-dcp"  # whose data is gone: its reader says what it was
    if reader is not None:
        return Target(given, path, reader)
    return _of_deepspeed(given, path, names) if "latest" in names else None


def kind_of(names: AbstractSet[str]) -> str | None:
    """The reader of a directory, by what lies in it; None if it is no trainer's."""
    if _STATE in names:
        return "hf-trainer"
    if _METADATA in names and any(name.endswith(".distcp") for name in names):
        return "torch-dcp"
    if any(_MODEL_STATES.match(name) for name in names):
        return "deepspeed"
    files = [name for name in names if name.endswith((".safetensors", ".bin"))]
    weights = [name for name in files if name.startswith(("model", "pytorch_model"))]
    indexes = {f"{name}.index.json" for name in _WHOLE}
    alone = bool(weights) and names <= {*weights, *indexes}
    if "optimizer.bin" in names or (weights and any(map(_RANDOM.match, names))) or (alone and not names & indexes):
        return "accelerate"  # the last: `save_model`
    if names >= {"params.pt", "optimizer.pt"}:
        return "torch-parts"
    whole = names & {*_WHOLE, *indexes, *_ADAPTERS}
    # Beside checkpoints of a run, or files that may hold an optimizer, the weights are not all that is meant.
    is_more = any(_RUN.match(name) or name.endswith(_STATES) or "optim" in name for name in names)
    return "pretrained" if whole and (alone or names & _CONFIGURATIONS) and not is_more else None


def _is_distributed(path: str) -> bool:
    """Whether `.metadata` is that of torch.distributed.checkpoint, which its pickle names at once."""
    try:
        with RegularFile(os.path.join(path, _METADATA)) as file:
            return b"torch.distributed.checkpoint.metadata" in file.read(0, min(file.size, 256))
    except UnreadableArtifact:
        return False


def _of_deepspeed(given: str, path: str, names: AbstractSet[str]) -> Target | None:
    """The directory that DeepSpeed's `latest` names; where that is not there, the newest tag, and an error."""
    tag = _named_latest(path)
    if tag is None:
        return None
    plain = tag and "/" not in tag and "\0" not in tag and tag not in {".", ".."}
    if plain and tag in names and _is_tag(os.path.join(path, tag)):
        return Target(given, os.path.join(path, tag), "deepspeed")
    tags = [name for name in sorted(names)[:_MOST_TAGS] if _is_tag(os.path.join(path, name))]
    if not tags:
        return None
    newest = max(tags, key=lambda name: (int(_NUMBER.search(name)[0]) if _NUMBER.search(name) else -1, name))  # type: ignore[index]
    gone = f"`latest` names {tag[:_LONGEST]!r}, which is not here: DeepSpeed would load nothing; {newest} is read"
    return Target(given, os.path.join(path, newest), "deepspeed", (Oddity("S022", gone),))


def _named_latest(path: str) -> str | None:
    """What DeepSpeed's `latest` names; None if it cannot be read."""
    try:
        with RegularFile(os.path.join(path, "latest")) as file:  # no pipe, which would wait for ever
            return file.read(0, min(file.size, 256)).decode("utf-8", "replace").strip()
    except Unreachable:
        raise
    except UnreadableArtifact:
        return None


def points(path: str, names: Iterable[str]) -> Pointer | None:
    """What DeepSpeed's `latest` names; else what `get_last_checkpoint` takes: the highest number, whatever is in it."""
    there = list(names)
    tag = _named_latest(path) if "latest" in there else None
    if tag and any(_is_tag(os.path.join(path, name)) for name in there[:_MOST_TAGS]):
        return Pointer("the file `latest`", tag[:_LONGEST])
    numbered = [(int(told[1]), name) for name in there if (told := _RUN.match(name))]
    folders = (name for _, name in sorted(numbered, reverse=True) if storage.is_dir(os.path.join(path, name)))
    last = next(folders, None)
    return Pointer("get_last_checkpoint()", last) if last is not None else None


def _is_tag(path: str) -> bool:
    return storage.is_dir(path) and any(map(_MODEL_STATES.match, storage.names(path)))


def latest(given: str, path: str, names: Iterable[str]) -> Target | None:
    """The checkpoint of a run with the largest number, as Trainer's `get_last_checkpoint` and accelerate take it."""
    for pattern in (_RUN, _AUTOMATIC):
        numbered = sorted((int(told[1]), name) for name in names if (told := pattern.match(name)))
        for _, name in reversed(numbered):
            below = os.path.join(path, name)
            reader = kind_of(set(storage.names(below))) if storage.is_dir(below) else None
            if reader is not None:
                note = Oddity(
                    "P003", f"{path} is a run of {counted(len(numbered), 'checkpoint')}; the newest is {below}"
                )
                return Target(given, below, reader, (note,))
    return None
