"""An optimizer in a trainer's directory: its own file is exchanged, every other one is copied, or shared.

Sources: transformers/trainer.py (`_load_optimizer_and_scheduler`: optimizer.pt and scheduler.pt, or neither),
accelerate/checkpointing.py (`load_accelerator_state`), torch/optim/lr_scheduler.py (`LambdaLR.load_state_dict`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from ckptdoctor.containers.bytes.copying import Progress, carry_tree
from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.containers.torchfiles.writing import archive
from ckptdoctor.containers.torchfiles.writing.file import exchange
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.containers.torchfiles.writing.storages import Sizes
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.torch.contents import fields_of
from ckptdoctor.formats.torch.parts import load_part
from ckptdoctor.formats.torch.writing.sites import fields_at, path_to
from ckptdoctor.formats.torch.writing.state_dict import parts, planned_state
from ckptdoctor.optimizers.planned import PlannedOptimizer

_STATE, _ARGUMENTS = "trainer_state.json", "training_args.bin"
_OPTIMIZER = re.compile(r"optimizer(?:_\d+)?\.(?:pt|bin)\Z")
_CALLS = {
    True: "resume with trainer.train(resume_from_checkpoint='OUT')",
    False: "load it with accelerator.load_state('OUT'), after accelerator.prepare",
}


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for it.
    """
    _values(optimizer, target)


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
    values, notes = _values(optimizer, target)
    told = _in_step(optimizer, target)
    os.mkdir(output)
    linked, copied = carry_tree(target, output, frozenset({*values, *told}), progress, link=link)
    new = 0
    for name, each in values.items():
        sizes = _written(os.path.join(target, name), os.path.join(output, name), each, progress)
        new, copied = new + sizes.new, copied + sizes.copied
    for name, text in told.items():
        with open(os.path.join(output, name), "x", encoding="utf-8") as stream:
            stream.write(text)
    names = set(os.listdir(target))
    name, _ = _file_of(optimizer.name, names)
    called = "" if name in names or _STATE in names else name
    return Written((_CALLS[_STATE in names], *notes), new, copied, linked, called=called)


def _written(source: str, goal: str, values: Mapping[Path, Node], progress: Progress | None) -> Sizes:
    if os.path.exists(source):
        return exchange(source, goal, values, progress=progress)
    whole: dict[Key, Node] = {path[0]: each for path, each in values.items()}
    return archive.create(goal, whole, progress)


def _values(optimizer: PlannedOptimizer, target: str) -> tuple[dict[str, dict[Path, Node]], list[str]]:
    """File → what is in it from now on; and what there is to say of it."""
    planned = planned_state(optimizer, target)
    names = set(os.listdir(target))
    name, label = _file_of(optimizer.name, names)
    found = {name: _exchanged(target, name, label, parts_of=optimizer)}
    notes: list[str] = []
    scheduler = name.replace("optimizer", "scheduler")
    stored = planned.schedulers[0][1] if planned.schedulers else None
    if stored is None and _STATE in names and scheduler in names:
        found |= _followed(optimizer, target, scheduler)
        if scheduler in found:
            notes.append(f"{scheduler} goes on at step {optimizer.iterations:,}, as the optimizer does")
    elif stored is None and _STATE in names:
        stored = _linear(optimizer, target)
        notes.append(
            f"{scheduler} is made for a LambdaLR at step {optimizer.iterations:,}, as all of Trainer's schedules are: "
            "without it Trainer would load neither"
        )
    if stored is not None:
        found[scheduler] = {(key,): each for key, each in stored.items()}
        gone = [key for key in _fields(target, scheduler) if (key,) not in found[scheduler]]
        if gone:
            found[scheduler] = {(): dict(stored)}
    if _STATE not in names and not planned.schedulers and "scheduler.bin" not in names:
        notes.append("no scheduler is beside it: accelerate looks for scheduler.bin only if one is prepared")
    return found, notes


def _fields(target: str, name: str) -> Mapping[Key, Node]:
    there = os.path.exists(os.path.join(target, name))
    return (fields_of(load_part(target, name).root) or {}) if there else {}


def _file_of(label: str, names: set[str]) -> tuple[str, str]:
    """The file that a label begins with, and what is left of it."""
    first, _, rest = label.partition("/")
    is_trainer = _STATE in names
    for name in (first, f"{first}.pt", f"{first}.bin"):
        if name in names and _OPTIMIZER.match(name):
            return name, rest
    if is_trainer or "params.pt" in names:
        return "optimizer.pt", ""
    taken = sum(1 for each in names if _OPTIMIZER.match(each))
    return (f"optimizer_{taken}.bin" if taken else "optimizer.bin"), ""


def _exchanged(target: str, name: str, label: str, *, parts_of: PlannedOptimizer) -> dict[Path, Node]:
    planned = planned_state(parts_of, target)
    where = os.path.join(target, name)
    if not os.path.exists(where):
        return {(key,): each for key, each in parts(planned).items()}
    root = load(where).root
    at = path_to(root, label, where)
    return {(*at, key): each for key, each in parts(planned, fields_at(root, at)).items()}


def _linear(optimizer: PlannedOptimizer, target: str) -> dict[Key, Node]:
    """A LambdaLR at the optimizer's count; what its function is, only the program knows."""
    planned = planned_state(optimizer, target)
    names = os.listdir(target)
    arguments = fields_of(load_part(target, _ARGUMENTS).root) if _ARGUMENTS in names else None
    told = (arguments or {}).get("learning_rate")
    rates: list[Node] = [group.get("lr") for group in planned.stored.groups]
    bases: list[Node] = [
        group.get("initial_lr", told if isinstance(told, float) else rate)
        for group, rate in zip(planned.stored.groups, rates, strict=True)
    ]
    if not all(isinstance(each, float) for each in (*rates, *bases)):
        raise GraftRefused("there is no scheduler.pt on either side, and the learning rate is no number to make it of")
    count = optimizer.iterations
    return {
        "base_lrs": bases, "last_epoch": count, "_step_count": count + 1, "_get_lr_called_within_step": False,
        "_last_lr": rates, "lr_lambdas": [None for _ in rates],
    }  # fmt: skip


def _followed(optimizer: PlannedOptimizer, target: str, name: str) -> dict[str, dict[Path, Node]]:
    """A Trainer's LambdaLR at the optimizer's count, where it has another: its rates follow from that alone."""
    own, count = _fields(target, name), optimizer.iterations
    if not optimizer.layout.counted or "lr_lambdas" not in own or own.get("last_epoch") == count:
        return {}
    rates: list[Node] = [group.get("lr") for group in planned_state(optimizer, target).stored.groups]
    told: dict[Key, Node] = {"last_epoch": count, "_step_count": count + 1, "_last_lr": rates}
    return {name: {(key,): each for key, each in told.items() if key in own}}


def _in_step(optimizer: PlannedOptimizer, target: str) -> dict[str, str]:
    """trainer_state.json with the optimizer's count, and the epoch that it makes."""
    where = os.path.join(target, _STATE)
    if not os.path.exists(where) or not optimizer.layout.counted:
        return {}
    with open(where, encoding="utf-8") as stream:
        text = stream.read()
    told = parse_object(text, where, _STATE)
    steps, epoch, count = told.get("global_step"), told.get("epoch"), optimizer.iterations
    if steps == count:
        return {}
    told["global_step"] = count
    if isinstance(steps, int) and steps > 0 and isinstance(epoch, (int, float)):
        told["epoch"] = epoch * count / steps
    return {_STATE: json.dumps(told, indent=2) + "\n"}
