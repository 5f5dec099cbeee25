"""An optimizer in a file of torch.save: beside what else is there, or in the place of the one that was."""

from __future__ import annotations

import os

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.containers.torchfiles.writing.file import exchange
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.torch.contents import Fields, contents
from ckptdoctor.formats.torch.writing import directories
from ckptdoctor.formats.torch.writing.sites import fields_at, is_bare, new_key, path_to
from ckptdoctor.formats.torch.writing.state_dict import parts, planned_state
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, TrainingState

_CALL = "load it by saved = torch.load(OUT), model.load_state_dict and optimizer.load_state_dict of what is in it"
_OF_LIGHTNING = "resume with trainer.fit(model, ckpt_path=OUT)"
_OPTIMIZERS, _SCHEDULERS = "optimizer_states", "lr_schedulers"


def program(_state: TrainingState) -> Generation:
    """The optimizers of programs that save with torch."""
    return Generation.TORCH


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for it.
    """
    if os.path.isdir(target):  # skorch's, which has the format of its files
        directories.check(optimizer, target)
        return
    _values(optimizer, load(target).root, target)


def write(optimizer: PlannedOptimizer, target: str, output: str, *, progress: Progress | None = None) -> Written:
    """Writes a file with this optimizer.

    Args:
        optimizer: The optimizer.
        target: The file that is completed.
        output: The file that is written.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: It has no place for it.
        UnreadableArtifact: An input is corrupt.
    """
    if os.path.isdir(target):
        return directories.write(optimizer, target, output, progress=progress)
    root = load(target).root
    values, wrapped, called = _values(optimizer, root, target)
    sizes = exchange(target, output, values, wrapped=wrapped, progress=progress)
    call = _OF_LIGHTNING if _is_lightning(root) else _CALL
    return Written((call,), sizes.new, sizes.copied, called=called)


def _is_lightning(root: Node) -> bool:
    """Whether Lightning resumes from it, which it does from no file without its version."""
    return isinstance(root, dict) and "pytorch-lightning_version" in root


def _values(optimizer: PlannedOptimizer, root: Node, target: str) -> tuple[dict[Path, Node], str | None, str]:
    """What goes where; the key of the target's whole content, where it was a bare state_dict; a new one's name."""
    planned = planned_state(optimizer, target)
    there = contents(root)
    if optimizer.name in there.optimizers and there.optimizers:
        at = path_to(root, optimizer.name, target)
        own = fields_at(root, at)
        values: dict[Path, Node] = {(*at, name): each for name, each in parts(planned, own).items()}
        values |= _schedulers(optimizer, root, target)
        return values, None, ""
    state: dict[Key, Node] = {name: each for name, each in parts(planned).items()}  # noqa: C416 - its keys are any
    if isinstance(root, dict) and _is_lightning(root):
        held = [each for each in _listed(root, _OPTIMIZERS) if each]  # `{}` stands for no optimizer
        needed: dict[Path, Node] = {(_SCHEDULERS,): []} if _SCHEDULERS not in root else {}
        values = {(_OPTIMIZERS,): [*held, state], **needed, **_schedulers(optimizer, root, target)}
        return values, None, f"{_OPTIMIZERS}/{len(held)}"
    keys = planned.keys
    if is_bare(root, target):
        model = keys.get("model", "model")
        new: Node = {model: None}
        name = new_key(new, "optimizer", keys.get("optimizer"), "")
        values = {(name,): state}
        if planned.schedulers:
            values[(keys.get("scheduler", "scheduler"),)] = dict(planned.schedulers[0][1])
        return values, model, name
    name = new_key(root, "optimizer", keys.get("optimizer"), optimizer.name)
    return {(name,): state, **_schedulers(optimizer, root, target)}, None, name


def _listed(root: dict[Key, Node], key: str) -> list[Node]:
    there = root.get(key)
    return there if isinstance(there, list) else []


def _schedulers(optimizer: PlannedOptimizer, root: Node, target: str) -> dict[Path, Node]:
    planned = planned_state(optimizer, target)
    found: dict[Path, Node] = {}
    listed: list[Node] = []
    for label, stored in planned.schedulers:
        if label is not None:
            found[path_to(root, label, target)] = dict(stored)
        elif _is_lightning(root):
            _require_no_averaging(stored, target)
            listed.append(dict(stored))
        elif isinstance(root, dict) and not found and len(optimizer.name.split("/")) == 1 and optimizer.name:
            found[(new_key(root, "scheduler", planned.keys.get("scheduler"), ""),)] = dict(stored)
    if listed and isinstance(root, dict):
        found[(_SCHEDULERS,)] = [*_listed(root, _SCHEDULERS), *listed]
    return found


def _require_no_averaging(stored: Fields, target: str) -> None:
    """Refuses the schedule of StochasticWeightAveraging where that has not begun: its averages are the donor's model.

    Source: lightning/pytorch/callbacks/stochastic_weight_avg.py (`load_state_dict`: all of it, or it begins anew).
    """
    if "anneal_epochs" in stored:
        raise GraftRefused(
            "the donor's rates are set by SWALR, which StochasticWeightAveraging has with averages of the donor's "
            "weights, and the target has none of its own: graft into a checkpoint that was saved while it averaged",
            target,
        )
