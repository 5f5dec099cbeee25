"""What is mended in the state of PyTorch's optimizers: keys, counts, settings.

Sources: torch/optim/optimizer.py (`load_state_dict`, `_process_value_according_to_param_policy`), torch/optim/adam.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.errors import GraftRefused, Refused
from ckptdoctor.formats.torch.contents import Fields, Model, contents, fields_of
from ckptdoctor.formats.torch.mending.files import Changes, Settings
from ckptdoctor.formats.torch.writing.sites import fields_at, path_to
from ckptdoctor.optimizers.torch.catalogue import COUNTED_IN_GROUPS, infer
from ckptdoctor.optimizers.torch.steps import STEP, STOPS, number_tensor
from ckptdoctor.references import TensorRef
from ckptdoctor.words import counted

_STATE, _GROUPS, _PARAMS = "state", "param_groups", "params"
_RATE, _INITIAL, _CAPTURABLE = "lr", "initial_lr", "capturable"
_KIND = "float32"
_COUNTED = (*COUNTED_IN_GROUPS, "counter", "lookahead_step", "looksam_step")
"""What optimizers count in their groups; the latter those that are around another one."""
_Found: TypeAlias = tuple[str, Path, Fields]


def _optimizers(loaded: Loaded) -> Iterator[_Found]:
    """Label, place and content of every optimizer that is a dictionary of data."""
    for label, fields in contents(loaded.root).optimizers.items():
        try:
            path = path_to(loaded.root, label, "")
        except GraftRefused:  # it was pickled whole
            continue
        if isinstance(fields.get(_GROUPS), (list, tuple)) and _STATE in fields:
            yield label or "the optimizer", path, fields


def _groups(fields: Fields) -> list[Mapping[Key, Node]]:
    listed = fields[_GROUPS]
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, (list, tuple)) else []


def _states(fields: Fields) -> Iterator[tuple[Key, Fields]]:
    for key, each in (fields_of(fields[_STATE]) or {}).items():
        held = fields_of(each)
        if held is not None:
            yield key, held


def text_indices(loaded: Loaded, _settings: Settings) -> Changes:
    """State under text that is a parameter's number: `load_state_dict` looks for the number, and drops the text."""
    changes = Changes()
    for label, path, fields in _optimizers(loaded):
        members = {each for group in _groups(fields) for each in _listed(group.get(_PARAMS)) if type(each) is int}
        state = fields_of(fields[_STATE]) or {}
        text = [key for key in state if isinstance(key, str) and key.isdecimal() and int(key) in members]
        found = {key: int(key) for key in text if int(key) not in state}
        changes.renamed |= {(*path, _STATE, key): number for key, number in found.items()}
        if found:
            changes.told.append(
                f"the state of {counted(len(found), 'parameter')} of {label} is under numbers, not text"
            )
    return changes


def _listed(node: Node) -> list[Node]:
    return list(node) if isinstance(node, (list, tuple)) and not isinstance(node, TensorRef) else []


def step_dtype(loaded: Loaded, _settings: Settings) -> Changes:
    """Counts of a type that no optimizer adds to: half precision stands still, whole numbers end foreach's addition."""
    changes = Changes()
    for label, path, fields in _optimizers(loaded):
        stuck = 0
        types: dict[str, int] = {}
        for key, held in _states(fields):
            step = held.get(STEP)
            if not isinstance(step, TensorRef) or step.shape or step.dtype == _KIND or step.location is None:
                continue
            value = read_scalar(step)
            if not isinstance(value, (int, float)):
                continue
            changes.values[(*path, _STATE, key, STEP)] = number_tensor(STEP, float(value))
            types[step.dtype] = types.get(step.dtype, 0) + 1
            stuck += step.dtype in STOPS and value >= STOPS[step.dtype]
        for dtype, number in types.items():
            changes.told.append(f"the step of {counted(number, 'parameter')} of {label} is {_KIND}, not {dtype}")
        if stuck:
            changes.told.append(
                f"the step of {counted(stuck, 'parameter')} of {label} stood still in half precision: it is less than "
                "the steps that were done; set it with --fix count --iterations N"
            )
    return changes


def capturable(loaded: Loaded, _settings: Settings) -> Changes:
    """`capturable=True` of a program on a GPU: on a CPU the first step is an AssertionError."""
    changes = Changes()
    for label, path, fields in _optimizers(loaded):
        found = [number for number, group in enumerate(_groups(fields)) if group.get(_CAPTURABLE) is True]
        changes.values |= {(*path, _GROUPS, number, _CAPTURABLE): False for number in found}
        if found:
            changes.told.append(f"capturable is False in {counted(len(found), 'group')} of {label}")
    return changes


def learning_rate(loaded: Loaded, settings: Settings) -> Changes:
    """Another rate than the one that is stored, which `load_state_dict` sets over the program's; schedulers follow."""
    changes = Changes()
    rate = settings.get("learning_rate")
    if not isinstance(rate, float):
        return changes
    for label, path, fields in _optimizers(loaded):
        groups = _groups(fields)
        rates = [group.get(_RATE) for group in groups]
        other = [number for number, each in enumerate(rates) if isinstance(each, float) and each != rate]
        for number in other:
            changes.values[(*path, _GROUPS, number, _RATE)] = rate
        if other:
            told = ", ".join(dict.fromkeys(f"{each:g}" for each in rates if isinstance(each, float) and each != rate))
            changes.told.append(f"lr of {counted(len(other), 'group')} of {label} is {rate:g}, not {told}")
        scheduled = [group for group in groups if _INITIAL in group]
        if other and scheduled:
            changes.told.append(
                f"initial_lr of {label} stays: a scheduler sets lr from it, and from its own base_lrs, at its next step"
            )
    return changes


def reset(loaded: Loaded, _settings: Settings) -> Changes:
    """No state, and what groups count from its beginning: the optimizer begins at step 0 with the stored settings.

    Raises:
        Refused: It is not known what it begins with, or it is no dictionary that may be without state.
    """
    changes = Changes()
    for label, path, fields in _optimizers(loaded):
        held = fields_of(fields[_STATE]) or {}
        if not held:
            continue
        if fields_at(loaded.root, path) is None:
            raise Refused(f"{label} was pickled whole, and would take no step without state: make a new one instead")
        groups = _groups(fields)
        entry = infer({key for group in groups for key in group if isinstance(key, str)}, _names(fields)).entry
        begins = entry.begins if entry is not None else {}
        for number, group in enumerate(groups):
            unknown = [name for name in _COUNTED if group.get(name) and name not in begins]
            if unknown:
                raise Refused(
                    f"what a new {label} has for {unknown[0]} in its groups is not known: make a new one instead"
                )
            changes.values |= {
                (*path, _GROUPS, number, name): group[start] if isinstance(start, str) else start
                for name, start in begins.items()
                if name in group and (not isinstance(start, str) or start in group)
            }
        changes.values[(*path, _STATE)] = {}
        changes.told.append(f"{label} has no state of {counted(len(held), 'parameter')}: it begins at step 0")
        if entry is not None and entry.name == "Adagrad":
            changes.told.append(
                f"{label}: Adagrad of older torch makes state only when it is built, and ends in a KeyError without: "
                "do not load its state_dict there"
            )
    return changes


def _names(fields: Fields) -> set[str]:
    return {name for _, held in _states(fields) for name in held if isinstance(name, str)}


def averages(loaded: Loaded, _settings: Settings) -> Changes:
    """The model and the average of its weights change places: what predicts best, or what trains on."""
    changes = Changes()
    if not isinstance(loaded.root, dict):
        return changes
    models = [each for each in contents(loaded.root).models if each.label in loaded.root]
    for average in (each for each in models if each.averaged):
        alike = [each for each in models if not each.averaged and _shapes(each) == _shapes(average)]
        if len(alike) == 1 and not changes.renamed:
            one, other = alike[0].label, average.label
            changes.renamed = {(one,): other, (other,): one}
            changes.told.append(
                f"{one} and {other} have changed places: {counted(len(average.tensors), 'tensor')} each"
            )
    return changes


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: each.shape for name, each in model.tensors.items()}


def location(loaded: Loaded, _settings: Settings) -> Changes:
    """Storages of a GPU: without map_location, torch.load fails where there is none."""
    changes = Changes()
    devices = [each for each in loaded.devices if each != "cpu"]
    if devices and loaded.container != "tar":
        changes.device = "cpu"
        changes.told.append(f"storages are on cpu, not on {', '.join(devices)}")
    return changes
