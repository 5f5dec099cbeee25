"""Directories: `checkpoint-N` of transformers' Trainer, `save_state` of accelerate, `save_pretrained`, skorch's parts.

Sources: transformers/trainer.py (`_save_checkpoint`), accelerate/checkpointing.py (`save_accelerator_state`),
skorch/net.py (`save_params`); measured with transformers 4.28 to 5.24, accelerate 0.18 to 1.15.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ckptdoctor.containers.pickles.reading import Thing
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.formats.torch.assembly import assemble
from ckptdoctor.formats.torch.contents import Fields, fields_of
from ckptdoctor.formats.torch.parts import Parts
from ckptdoctor.formats.torch.paths import told
from ckptdoctor.formats.torch.progress import logged_by_trainer, of_trainer
from ckptdoctor.optimizers.torch.warmups import Warmup, rise_of
from ckptdoctor.state import Format, Oddity, Producer, TrainingState

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin")
_RNG = re.compile(r"rng_state(?:_\d+)?\.pth\Z|random_states_\d+\.pkl\Z")
_NUMBERED = re.compile(
    r"(?P<stem>model|pytorch_model|optimizer|scheduler)(?:_(?P<number>\d{1,6}))?\.(?:bin|safetensors)\Z"
)
_CUSTOM = re.compile(r"custom_checkpoint_\d+\.pkl\Z|sampler(?:_\d+)?\.bin\Z|dl_state_dict(?:_\d+)?\.bin\Z")
_ARGUMENTS = "training_args.bin"
_COUNTERS = ("global_step", "max_steps", "epoch")


def read_trainer(path: str) -> TrainingState:
    """Reads a `checkpoint-N` of transformers' Trainer.

    Raises:
        UnreadableArtifact: A part of it is broken.
    """
    parts = Parts(path, "hf-trainer")
    any(parts.weights(stem) for stem in _WEIGHTS)
    for name, label in (("optimizer.pt", "optimizer"), ("optimizer.bin", "optimizer"), ("scheduler.pt", "scheduler")):
        if name in parts.names:
            parts.torch(name, label)
    if "scaler.pt" in parts.names:
        parts.torch("scaler.pt", "scaler")
    parts.found.rng += sorted(filter(_RNG.match, parts.names))
    beside = parts.beside([*parts.found.rng, *({_ARGUMENTS} & parts.names)])
    progress = parts.json("trainer_state.json")
    parts.found.warmup = _warmup(fields_of(beside.get(_ARGUMENTS)) or {}, progress.get("max_steps"))
    _count(parts, progress)
    parts.oddities += of_trainer(progress)
    best = progress.get("best_model_checkpoint")
    parts.oddities += told([("best_model_checkpoint", best)] if isinstance(best, str) else [])
    version = parts.json("config.json").get("transformers_version")
    both = {"optimizer.pt", "scheduler.pt"} & parts.names
    if len(both) == 1:
        (there,) = both
        gone = "scheduler.pt" if there == "optimizer.pt" else "optimizer.pt"
        parts.oddities.append(
            Oddity("S013", f"{there} is here and {gone} is not: Trainer loads neither, and says nothing")
        )
    with kept_open():
        producer = Producer("transformers", version[:40] if isinstance(version, str) else None)
        state = assemble(path, Format.HF_TRAINER, producer, parts.found, parts.oddities)
        return state._replace(logged=logged_by_trainer(progress), progress=tuple(_fields(progress)))


def _fields(progress: Mapping[str, object]) -> Iterator[str]:
    """What trainer_state.json has: versions of transformers differ in what they take, and in what they need."""
    yield from progress
    callbacks = progress.get("stateful_callbacks")
    yield from (f"stateful_callbacks/{name}" for name in (callbacks if isinstance(callbacks, dict) else ()))


def _warmup(arguments: Fields, total: object) -> Warmup | None:
    """The schedule that Trainer's arguments name, over the steps that it counted on."""
    kind, rate, settings = (
        arguments.get(name) for name in ("lr_scheduler_type", "learning_rate", "lr_scheduler_kwargs")
    )
    if isinstance(kind, Thing) and kind.args:  # SchedulerType("linear")
        kind = kind.args[0]
    if not (isinstance(kind, str) and isinstance(rate, float) and isinstance(total, int) and 0 < total < 1 << 53):
        return None
    try:
        rise = rise_of(arguments.get("warmup_steps"), arguments.get("warmup_ratio"), total)
    except TypeError:
        return None
    told = {key: value for key, value in (fields_of(settings) or {}).items() if isinstance(key, str)}
    return Warmup(kind, rise, total, rate, told)


def _count(parts: Parts, progress: Mapping[str, object]) -> None:
    for name in _COUNTERS:
        value = progress.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
            parts.found.counters[name] = value
        elif isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
            parts.found.counters[name] = int(value)


def read_accelerate(path: str) -> TrainingState:
    """Reads what `Accelerator.save_state` leaves.

    Raises:
        UnreadableArtifact: A part of it is broken.
    """
    parts = Parts(path, "accelerate")
    several = (
        sum(1 for name in parts.names if name.startswith(("model", "pytorch_model")) and _NUMBERED.match(name)) > 1
    )
    for name in sorted(parts.names, key=_place):
        told = _NUMBERED.match(name)
        if told is None:
            continue
        if told["stem"] in {"model", "pytorch_model"}:
            parts.weights(name, name.partition(".")[0] if several else "")
        elif name.endswith(".bin"):
            parts.torch(name, name)
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if f"{stem}.index.json" in parts.names:
            parts.weights(stem)
    if "scaler.pt" in parts.names:
        parts.torch("scaler.pt", "scaler")
    parts.found.rng += sorted(filter(_RNG.match, parts.names))
    parts.beside([*parts.found.rng, *filter(_CUSTOM.match, parts.names)])
    with kept_open():
        return assemble(path, Format.ACCELERATE_STATE, Producer("accelerate"), parts.found, parts.oddities)


def read_pretrained(path: str) -> TrainingState:
    """Reads the weights that `save_pretrained` leaves, as they lie on the Hugging Face Hub: whole, or in shards.

    Raises:
        UnreadableArtifact: A part of it is broken.
    """
    parts = Parts(path, "pretrained")
    stem = next(each for each in _WEIGHTS if parts.weights(each))
    kind = Format.SAFETENSORS if stem.endswith(".safetensors") else Format.TORCH_CHECKPOINT
    version = parts.json("config.json").get("transformers_version")
    producer = Producer("transformers", version[:40]) if isinstance(version, str) else Producer(None)
    with kept_open():
        return assemble(path, kind, producer, parts.found, parts.oddities)


def _place(name: str) -> tuple[int, str]:
    told = _NUMBERED.match(name)
    return (int(told["number"] or 0) if told else 0), name


def read_parts(path: str) -> TrainingState:
    """Reads skorch's directory: `params.pt`, `optimizer.pt`, `criterion.pt`.

    Raises:
        UnreadableArtifact: A part of it is broken.
    """
    parts = Parts(path, "torch-parts")
    parts.weights("params.pt")
    parts.torch("optimizer.pt", "optimizer.pt")
    with kept_open():
        return assemble(path, Format.TORCH_CHECKPOINT, Producer("skorch"), parts.found, parts.oddities)
