"""Which directories are artifacts of PyTorch's trainers, and which of several checkpoints of a run is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from ckptdoctor.formats.contract import Target
from ckptdoctor.state import Oddity
from ckptdoctor.words import counted

_STATE = "trainer_state.json"
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_RUN = re.compile(r"checkpoint-(\d{1,18})\Z")
_AUTOMATIC = re.compile(r"checkpoint_(\d{1,18})\Z")
_RANDOM = re.compile(r"random_states_\d+\.pkl\Z")
_MODEL_STATES = re.compile(r"(?:zero_pp_rank_\d+_)?mp_rank_\d+_model_states\.pt\Z")


def claim(given: str, path: str, names: AbstractSet[str]) -> Target | None:
    """The artifact that a directory is; None if it is none of these."""
    reader = _reader(names)
    if reader is not None:
        return Target(given, path, reader)
    tag = _tag(path) if "latest" in names else None
    return None if tag is None else Target(given, tag, "deepspeed")


def _reader(names: AbstractSet[str]) -> str | None:
    if _STATE in names:
        return "hf-trainer"
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return "torch-dcp"
    if any(_MODEL_STATES.match(name) for name in names):
        return "deepspeed"
    files = [name for name in names if name.endswith((".safetensors", ".bin"))]
    weights = any(name.startswith(("model", "pytorch_model")) for name in files)
    if files and names <= {*files, *(f"{name}.index.json" for name in _WHOLE)} and weights:
        return "accelerate"  # `save_model`
    if "optimizer.bin" in names or (weights and any(map(_RANDOM.match, names))):
        return "accelerate"
    return "torch-parts" if names >= {"params.pt", "optimizer.pt"} else None


def _tag(path: str) -> str | None:
    """The directory that DeepSpeed's `latest` names."""
    try:
        with open(os.path.join(path, "latest"), "rb") as file:
            tag = file.read(256).decode("utf-8", "replace").strip()
    except OSError:
        return None
    below = os.path.join(path, tag)
    if not tag or "/" in tag or tag in {".", ".."} or "\0" in tag or not os.path.isdir(below):
        return None
    return below if any(map(_MODEL_STATES.match, os.listdir(below))) else None


def latest(given: str, path: str, names: Iterable[str]) -> Target | None:
    """The checkpoint of a run with the largest number, as Trainer's `get_last_checkpoint` and accelerate take it."""
    for pattern in (_RUN, _AUTOMATIC):
        numbered = sorted((int(told[1]), name) for name in names if (told := pattern.match(name)))
        for _, name in reversed(numbered):
            below = os.path.join(path, name)
            reader = _reader(set(os.listdir(below))) if os.path.isdir(below) else None
            if reader is not None:
                note = Oddity(
                    "P003", f"{path} is a run of {counted(len(numbered), 'checkpoint')}; the newest is {below}"
                )
                return Target(given, below, reader, (note,))
    return None
