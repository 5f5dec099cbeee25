"""What the child is asked of PyTorch's files: the optimizers in them, and stand-ins for what they train."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import UsageProblem
from ckptdoctor.examination import Examination
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.torch.catalogue import infer
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import Count, OptimizerState, Role, Slot, TrainingState
from ckptdoctor.verification.digests import digest
from ckptdoctor.verification.request import NotVerifiable, Prepared, Wanted
from ckptdoctor.verification.results import Attempt
from ckptdoctor.verification.trained import Expected, Trained

_OF_TORCH = "torch-"
_TRAINERS = {"torch-lightning": "lightning", "torch-trainer": "transformers", "torch-accelerate": "accelerate"}
"""Kind → the package that resumes a program from it."""
_BOTH = ("optimizer.pt", "scheduler.pt")
_PARTS = re.compile(r"(?:optimizer|scheduler)(?:_\d+)?\.bin\Z")
_WEIGHTS = re.compile(r"pytorch_model(?:_\d+)?\.bin\Z|params\.pt\Z")
_STEP = "step"
_IN_FILE = re.compile(r"(?:.*?/)?state/(?P<key>[^/]+)/")
_IN_DIRECTORY = re.compile(r"(?:.*?\.)?state\.(?P<key>.+)\Z")
_SETTINGS = (int, float, str, bool, list)
_MODEL_IS_OF_KERAS = (
    "--model is for Keras: for PyTorch, --model-script FILE.py:FUNCTION names code that answers with the model"
)
_BY_ORDER = (
    "which of several parameters of one shape a slot belongs to, PyTorch tells by order alone: stand-ins have the "
    "artifact's order, and only --model-script FILE.py:FUNCTION proves the program's"
)
_REFUSES = (
    "torch.load refuses it by default since 2.6: whoever trusts the file loads it with weights_only=False, which runs "
    "what its pickle says; verify never does"
)
_ASK = (
    "make the program's model and optimizer in a function, and give it with --model-script FILE.py:FUNCTION: then its "
    "own load_state_dict is asked"
)
_NOT_ASKED = (
    "{package} itself was not asked: it resumes a program, so only with --model-script FILE.py:FUNCTION does it so, up "
    "to its first step"
)
_NEITHER = "Trainer loads optimizer.pt and scheduler.pt together or not at all, and {gone} is not here"


def is_of_torch(state: TrainingState) -> bool:
    """Whether PyTorch is what loads it."""
    return (record(state.format).verify or "").startswith(_OF_TORCH)


def prepare(
    examination: Examination, state: TrainingState, *, model: str | None, folder: str, script: str | None = None
) -> Prepared:
    """Puts the question for one artifact.

    Raises:
        NotVerifiable: Nothing can be asked about it.
        UnreadableArtifact: Its data cannot be read.
        UsageProblem: `model` is given.
    """
    if model is not None:
        raise UsageProblem(_MODEL_IS_OF_KERAS)
    path = os.path.abspath(examination.resolved)
    kind = record(state.format).verify or ""
    _require_fits(state, asked=script is not None)
    holding = [each for each in state.optimizers if each.has_state]
    with kept_open():
        wanted = tuple(_wanted(state, each) for each in holding)
    package = _TRAINERS.get(kind, "torch") if script is not None else "torch"
    request: dict[str, Any] = {
        "kind": "torch-program" if package != "torch" else kind,
        "start": 0,
        "framework": package,
        "path": path,
        "script": script,
        "folder": folder,
        "parts": list(_parts(kind, path, script=script is not None)),
        "lacking": _lacking(kind, path),
        "weights": any(each.tensor.location is not None for each in state.variables),
        "optimizers": [_described(each, state.optimizers.index(each.state)) for each in wanted],
        "expected": [
            {"iterations": each.state.iterations, "slots": [each.digests[one.slot.tensor] for one in each.slots]}
            for each in wanted
        ],
    }
    return Prepared(request, wanted)


def _require_fits(state: TrainingState, *, asked: bool) -> None:
    if any(each.code == "S016" for each in state.oddities) and not asked:
        raise NotVerifiable(
            "its optimizer has state of shapes that no weight here has, so which parameters it belongs to only the "
            "program tells: give --model-script FILE.py:FUNCTION"
        )


def _parts(kind: str, path: str, *, script: bool) -> Iterator[tuple[str, str]]:
    """The files of a directory that torch.load is asked for, each with the name that leads to what is in it."""
    if not os.path.isdir(path):
        return
    for name in sorted(os.listdir(path)):
        if name in {*_BOTH, "optimizer.bin"} and kind == "torch-trainer":
            yield name, name.partition(".")[0]
        elif _PARTS.match(name) or name == "optimizer.pt" or (script and _WEIGHTS.match(name)):
            yield name, name


def _lacking(kind: str, path: str) -> str | None:
    """The file without which transformers' Trainer does not load the other."""
    if kind != "torch-trainer":
        return None
    optimizer = any(name.startswith("optimizer") for name in os.listdir(path))
    if not optimizer:
        return _BOTH[0]
    return None if os.path.isfile(os.path.join(path, _BOTH[1])) else _BOTH[1]


# ------------------------------------------------------------------------------------------------- one optimizer


def _wanted(state: TrainingState, optimizer: OptimizerState) -> Wanted:
    labels = _labels(optimizer)
    places = _places(optimizer, labels)
    named = [*optimizer.slots, *_numbers(optimizer)]
    slots = [each for slot in named for each in _expected(optimizer, slot, places, labels)]
    counts = [
        each
        for slot in filter(None, map(_count, optimizer.counts))
        for each in _expected(optimizer, slot, places, labels)
    ]
    known = {each.path: each.tensor for each in state.variables}
    own: dict[str, list[Slot]] = {}
    for each in slots:
        own.setdefault(each.variable, []).append(each.slot)
    trained = [_trained(label, known.get(label), own.get(label, [])) for label in labels]
    digests = {each.slot.tensor: digest(each.slot.tensor) for each in (*slots, *counts)}
    alone = len(state.optimizers) == 1
    schedulers = [each for each in state.schedulers if alone or each.optimizer == optimizer.name]
    return Wanted(optimizer, trained, slots, digests, counts, schedulers)


def _labels(optimizer: OptimizerState) -> list[str]:
    """A name for each parameter, in the optimizer's order."""
    every = (variable for group in optimizer.groups for variable in group.variables)
    return [f"parameter {number}" if variable is None else variable for number, variable in enumerate(every)]


def places(optimizer: OptimizerState) -> list[tuple[int | None, Slot]]:
    """Each slot with the place of its parameter in the optimizer's order; None where that cannot be told."""
    known = _places(optimizer, _labels(optimizer))
    return [(known.get(_key(optimizer.name, each.tensor.key, each.name)), each) for each in optimizer.slots]


def _places(optimizer: OptimizerState, labels: Sequence[str]) -> dict[str, int]:
    """What the state calls a parameter → its place, as far as variables and counts tell."""
    found = {str(number): number for number in range(len(labels))}
    numbered = {f"#{number}": number for number in range(len(labels))}
    where = {label: number for number, label in enumerate(labels)}
    for slot in optimizer.slots:
        key = _key(optimizer.name, slot.tensor.key, slot.name)
        if slot.variable in where:
            found[key] = where[slot.variable]
    for each in optimizer.counts:
        place = where.get(each.where, numbered.get(each.where))
        if place is not None:
            found[_key(optimizer.name, each.key, _STEP)] = place
    return found


def _key(name: str, key: str, last: str) -> str:
    """What the state calls the parameter: `0` in `optimizer/state/0/exp_avg`, `a.b` in `optim.state.a.b.exp_avg`."""
    inside = key.removeprefix(f"{name}/")
    told = _IN_FILE.match(inside)
    if told is not None:
        return told["key"]
    told = _IN_DIRECTORY.match(inside)
    return told["key"].removesuffix(f".{last}") if told is not None else ""


def _expected(
    optimizer: OptimizerState, slot: Slot, places: Mapping[str, int], labels: Sequence[str]
) -> Iterator[Expected]:
    key = _key(optimizer.name, slot.tensor.key, slot.name)
    place = places.get(key)
    yield Expected(slot, labels[place] if place is not None else slot.variable or f"parameter {key}", key)


def _numbers(optimizer: OptimizerState) -> Iterator[Slot]:
    """Numbers in the state of a parameter that are no tensors."""
    for each in optimizer.other:
        yield Slot(each.name, Role.OTHER, None, each.tensor, "order")


def _count(count: Count) -> Slot | None:
    """A parameter's own count, in the form of a slot."""
    if count.of != "parameter" or not count.key.endswith(f"/{_STEP}"):
        return None
    ref = count.tensor
    if ref is None:
        if count.value is None or abs(count.value) >= 1 << 63:
            return None
        ref = TensorRef(count.key, "int64", (), Inline(struct.pack("<q", count.value)))
    named = None if count.where.startswith("#") else count.where
    return Slot(_STEP, Role.OTHER, named, ref, "order")


def _trained(label: str, weight: TensorRef | None, slots: Sequence[Slot]) -> Trained:
    """A parameter as the model has it; else as its slots say."""
    floats = [slot.tensor.dtype for slot in slots if "float" in slot.tensor.dtype]
    if weight is not None and weight.dtype:
        return Trained(label, (label,), weight.shape, weight.dtype)
    shape = weight.shape if weight is not None else max((slot.tensor.shape for slot in slots), key=len, default=())
    return Trained(label, (label,) if weight is not None else (), shape, floats[0] if floats else "float32")


def _described(wanted: Wanted, index: int) -> dict[str, Any]:
    state = wanted.state
    settings = {name for group in state.groups for name in group.hyperparameters}
    there = {each.slot.name for each in wanted.slots}
    told = infer(settings, there, decoupled=_decoupled(state))
    held = {each.variable for each in (*wanted.slots, *wanted.counts)}
    return {
        "name": state.name,
        "index": index,
        "numbered": all(each.key.isdecimal() for each in (*wanted.slots, *wanted.counts)),
        "class": state.class_name,
        "classes": [] if state.class_name is None else [state.class_name, *state.class_candidates],
        "package": told.entry.package if told.entry is not None else "",
        "groups": [
            {
                "size": len(group.variables),
                "settings": {
                    name: value for name, value in group.hyperparameters.items() if isinstance(value, _SETTINGS)
                },
            }
            for group in state.groups
        ],
        "trained": [
            {"path": each.label, "shape": list(each.shape), "dtype": each.dtype, "held": each.label in held}
            for each in wanted.trained
        ],
        "schedulers": [{"name": each.name, "class": each.class_name} for each in wanted.schedulers],
    }


def _decoupled(state: OptimizerState) -> bool | None:
    told = state.hyperparameters.get("decoupled_weight_decay")
    return told if isinstance(told, bool) else None


# ---------------------------------------------------------------------------------------------------- what is said


def advice(prepared: Prepared, attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """What to do where the usual call does not restore the state."""
    usual = attempts[0]
    if usual.ok:
        return ()
    restoring = next((each for each in attempts if each.ok), None)
    if restoring is not None:
        return (f"this restores all of it (tried): {restoring.call}",)
    if usual.error is not None and "refuses " in usual.error:
        return (_REFUSES,)
    return () if prepared.request["script"] is not None else (_ASK,)


def notes(prepared: Prepared, usual: Attempt) -> tuple[str, ...]:
    """What else is to be known of the answer."""
    said = []
    kind, script = str(prepared.request["kind"]), prepared.request["script"]
    if kind in _TRAINERS and script is None:
        said.append(_NOT_ASKED.format(package=_TRAINERS[kind]))
    if prepared.request["lacking"]:
        said.append(_NEITHER.format(gone=prepared.request["lacking"]))
    if script is None and any(map(_goes_by_order, prepared.wanted)):
        said.append(_BY_ORDER)
    unknown = sum(1 for each in prepared.wanted for one in each.trained if not one.names)
    if script is None and unknown:
        said.append(
            f"{unknown:,} parameters fit no weight in the artifact: their stand-ins have the shapes of their state"
        )
    asked = {each.name for one in usual.optimizers for each in one.schedulers}
    left = [each.name for one in prepared.wanted for each in one.schedulers if each.name not in asked]
    if left and usual.error is None:
        said.append(f"of {', '.join(left)} nothing was asked: only the program's own code makes such a scheduler")
    return tuple(said)


def _goes_by_order(wanted: Wanted) -> bool:
    """Whether two parameters of one shape could be exchanged, and nothing would tell."""
    shapes = [each.shape for each in wanted.trained]
    return len(set(shapes)) < len(shapes) and any(each.slot.mapping != "name" for each in wanted.slots)
