"""What the child is asked: the artifact, the framework, and stand-ins for what the artifact does not hold."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ckptdoctor.containers.tensors.values import assembled, kept_open
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.examination import Examination
from ckptdoctor.formats.registry import bundle, record
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import told_by_slots
from ckptdoctor.optimizers.lists.elements import position
from ckptdoctor.optimizers.name_based import TF1_OPTIMIZERS
from ckptdoctor.references import H5Data, TensorRef
from ckptdoctor.state import OptimizerState, OtherVariable, Role, SchedulerState, TrainingState
from ckptdoctor.verification import chains, graph
from ckptdoctor.verification.digests import digest
from ckptdoctor.verification.trained import Expected, Trained, read

_COMPILED = "optimizer"
"""What readers call the optimizer of `model.compile`."""
_TF1_CLASSES = {
    "Adam": "AdamOptimizer",
    "SGD": "MomentumOptimizer",
    "RMSprop": "RMSPropOptimizer",
    "Adagrad": "AdagradOptimizer",
    "Adadelta": "AdadeltaOptimizer",
    "Ftrl": "FtrlOptimizer",
}
_SETTINGS = frozenset(
    {"beta_1", "beta_2", "rho", "epsilon", "momentum", "nesterov", "weight_decay", "initial_accumulator_value"}
)
"""Hyperparameters of stand-ins that decide how they start; the rest does not matter to what is restored."""


class NotVerifiable(Exception):
    """No framework can be asked about this artifact; its text says why."""


class Wanted(NamedTuple):
    """An optimizer that the artifact holds.

    Attributes:
        state: As it was read.
        trained: What it trains, in its order.
        slots: Its slots and their variables.
        digests: Slot → the digest of its value.
        counts: Each variable's own count, in the form of a slot.
        schedulers: The schedulers that set its rate.
    """

    state: OptimizerState
    trained: Sequence[Trained]
    slots: Sequence[Expected]
    digests: Mapping[TensorRef, str]
    counts: Sequence[Expected] = ()
    schedulers: Sequence[SchedulerState] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, and what its answer is compared with.

    Attributes:
        request: What the child gets.
        wanted: Each optimizer that holds state.
    """

    request: dict[str, Any]
    wanted: tuple[Wanted, ...]


def prepare(
    examination: Examination, state: TrainingState, *, model: str | None, folder: str, script: str | None = None
) -> Prepared:
    """Puts the question for one artifact.

    Raises:
        NotVerifiable: Nothing can be asked about it.
        UnreadableArtifact: Its data cannot be read.
    """
    path = os.path.abspath(examination.resolved)
    holding = [each for each in state.optimizers if each.has_state]
    prefix = bundle(state.format, path)
    rebuilt = None if prefix is None else graph.rebuild(prefix)
    kind = _kind(state, holding, by_objects=rebuilt is not None)
    framework = _framework(state, holding, kind)
    if kind == "orbax":
        _require_loader(holding, path, told=model is not None or script is not None)
    with kept_open():
        wanted = tuple(_wanted(state, each) for each in holding)
    requests = []
    for index, each in enumerate(wanted):
        trained = list(each.trained)
        described = _optimizer(each.state, each.slots, by_objects=rebuilt is not None)
        if rebuilt is not None:
            described.update(graph.optimizer(rebuilt, each.state.name, trained))
        else:
            described["trained"] = [
                {"path": one.label, "shape": list(one.shape), "dtype": one.dtype} for one in trained
            ]
        if kind == "chain":
            described.update(chains.leaves(each.state, each.slots, trained, path))
        wanted = (*wanted[:index], each._replace(trained=trained), *wanted[index + 1 :])
        requests.append(described)
    request: dict[str, Any] = {
        "kind": kind,
        "start": 0,
        "framework": framework,
        "path": prefix or path if kind in {"names", "objects"} else path,
        "model": None if model is None else os.path.abspath(model),
        "script": script,
        "item": chains.item_of(holding, path) if kind == "chain" else path,
        "folder": folder,
        "optimizers": requests,
        "expected": [_expected(each) for each in wanted],
        "graph": rebuilt.request if rebuilt else None,
    }
    if kind == "names":
        request["step"] = _step(holding)
    elif kind == "dump":
        request["values"] = _values(holding, folder)
    elif kind == "weights":
        request["store"] = _store(holding)
    return Prepared(request, wanted)


def _kind(state: TrainingState, holding: Sequence[OptimizerState], *, by_objects: bool) -> str:
    kind = record(state.format).verify
    if all(dialect(each.generation).chained for each in holding):
        kind = chains.KIND if record(state.format).write is not None else None
    if kind is None:
        raise NotVerifiable(record(state.format).unverifiable or "no framework loads an optimizer from this format")
    if kind in {"objects", "saved_model"} and not by_objects:
        kind = "names"
    if kind == "saved_model" and any(dialect(each.generation).package == "keras" for each in holding):
        kind = "objects"
    if kind == "names" and any(_shared(each) for each in holding):
        raise NotVerifiable("the slots of several optimizers stand under one name, so none can be made to load them")
    if kind in {"objects", "weights", "dump"} and any(each.class_name is None and each.slots for each in holding):
        raise NotVerifiable("the optimizer's class cannot be told, so none can be made to load it")
    attributes = [each.name for each in holding if each.name != _COMPILED]
    if attributes and kind in {"archive", "weights"}:
        raise NotVerifiable(
            f"its optimizers are attributes of the model ({', '.join(sorted(attributes))}), which only the model's own "
            "code makes: no call of Keras does, and code in a model is never run here. L002 of ckptdoctor check says "
            "how to load them"
        )
    if len(holding) > 1 and kind in {"archive", "h5", "weights", "dump"}:
        raise NotVerifiable("it holds several optimizers in one (MultiOptimizer), which verify cannot tell apart yet")
    return kind


def _require_loader(holding: Sequence[OptimizerState], path: str, *, told: bool) -> None:
    """Raises where no call of Keras loads what its callback saved.

    Raises:
        NotVerifiable: There is none, or it needs a model.
    """
    if any((each.iterations_key or "").startswith("state/") for each in holding):
        raise NotVerifiable(
            "Keras 3.13 has no loader for what its callback saves, and later versions want another item"
        )
    if not told and not os.path.isdir(os.path.join(path, "model_config")):
        raise NotVerifiable(
            "no configuration of the model lies beside its weights: give --model-script FILE.py:FUNCTION, which "
            "answers with the program's compiled model, or --model"
        )


def _shared(optimizer: OptimizerState) -> bool:
    """Whether a variable has two slots of one kind: two optimizers under one name."""
    return len({(slot.name, slot.variable) for slot in optimizer.slots}) < len(optimizer.slots)


def _framework(state: TrainingState, holding: Sequence[OptimizerState], kind: str) -> str:
    packages = {dialect(each.generation).package for each in holding}
    if kind == chains.KIND:
        return chains.package(state)
    if kind == "names":
        return "tensorflow"
    if kind == "objects" and packages == {"tensorflow"}:
        return "tensorflow"
    if "keras" in packages:
        return "keras"
    if packages == {""} and (state.producer.framework == "keras" and (state.producer.version or "3")[0] == "3"):
        return "keras"
    return "standalone" if packages == {"standalone"} else "tf_keras"


def _wanted(state: TrainingState, optimizer: OptimizerState) -> Wanted:
    trained, slots = read(state, optimizer)
    return Wanted(optimizer, trained, slots, {each.slot.tensor: digest(each.slot.tensor) for each in slots})


def _expected(wanted: Wanted) -> dict[str, Any]:
    kinds = list(dict.fromkeys(each.slot.name for each in wanted.slots))
    return {"iterations": wanted.state.iterations, "slots": list(wanted.digests.values()), "kinds": kinds}


def _optimizer(optimizer: OptimizerState, slots: Sequence[Expected], *, by_objects: bool) -> dict[str, Any]:
    """A stand-in's class and settings: those that decide which variables it keeps."""
    roles = {each.slot.role for each in slots}
    config: dict[str, Any] = {
        name: value
        for name, value in optimizer.hyperparameters.items()
        if name in _SETTINGS and isinstance(value, (int, float))
    }
    config |= told_by_slots(roles, config)
    if Role.GRADIENT_ACCUMULATOR in roles:
        steps = optimizer.hyperparameters.get("gradient_accumulation_steps")
        config["gradient_accumulation_steps"] = steps if isinstance(steps, int) and steps > 1 else 2
    return {
        "name": optimizer.name,
        "label": optimizer.label,
        "class": optimizer.class_name or "Adam",  # without slots every class loads the same
        "legacy": dialect(optimizer.generation).legacy,
        "config": config,
        "wrapped": optimizer.wrapper is not None,
        "scheduled": _scheduled(optimizer, by_objects=by_objects),
        **_tf1(optimizer, slots, roles),
    }


def _scheduled(optimizer: OptimizerState, *, by_objects: bool) -> bool:
    """Whether a schedule sets the rate, so that no variable holds it."""
    if optimizer.schedule is not None:
        return True
    if dialect(optimizer.generation).rate_listed:
        return not any(each.name.lstrip("_") == "learning_rate" for each in optimizer.other)
    # Before Keras 3 lists of variables never have the rate; object graphs have it unless a schedule sets it.
    return by_objects and "learning_rate" not in optimizer.hyperparameters


def _tf1(optimizer: OptimizerState, slots: Sequence[Expected], roles: set[Role]) -> dict[str, Any]:
    """What names a TF1 optimizer's slots: its own name, and the scope around it."""
    name, scope = _op_name(optimizer, slots)
    arguments: dict[str, Any] = {}
    cls = _TF1_CLASSES.get(optimizer.class_name or "") if slots else "GradientDescentOptimizer"
    if cls == "MomentumOptimizer":
        arguments["momentum"] = 0.9
    if Role.MEAN_GRADIENT in roles:
        arguments["centered"] = True
    labels = list(dict.fromkeys(each.variable for each in slots))
    return {
        "tf1_class": cls,
        "tf1_arguments": arguments,
        "op_name": name,
        "averaged": Role.MOVING_AVERAGE in roles,
        "scope": scope,
        "slot_keys": [[each.slot.name, labels.index(each.variable), each.slot.tensor.key] for each in slots],
    }


def _op_name(optimizer: OptimizerState, slots: Sequence[Expected]) -> tuple[str | None, str | None]:
    """`Adam` and `train` from `train/net/kernel/Adam_1`."""
    known = {each.op_name for each in TF1_OPTIMIZERS}
    for each in slots:
        if each.slot.role is Role.MOVING_AVERAGE:
            continue
        before, found, after = each.slot.tensor.key.partition(f"{each.variable}/")
        if found and after:
            plain = after if after in known else after.rpartition("_")[0] if after[-1:].isdigit() else after
            return plain or after, before.rstrip("/") or None
    return optimizer.name or None, None


def _step(holding: Sequence[OptimizerState]) -> dict[str, str] | None:
    found = next((each for each in holding if each.iterations is not None and each.iterations_key), None)
    return None if found is None or found.iterations_key is None else {"key": found.iterations_key, "dtype": "int64"}


def _references(optimizer: OptimizerState) -> list[TensorRef]:
    others: tuple[OtherVariable, ...] = (*optimizer.other, *(optimizer.wrapper.variables if optimizer.wrapper else ()))
    return [*(slot.tensor for slot in optimizer.slots), *(other.tensor for other in others)]


def _values(holding: Sequence[OptimizerState], folder: str) -> list[str]:
    """The list of a dump, an array a file."""
    import numpy as np

    optimizer = holding[0]
    places = {position(ref.key): ref for ref in _references(optimizer)}
    length = len(places) + (optimizer.iterations is not None)
    names = []
    for index in range(length):
        ref = places.get(index)
        if ref is not None:
            value = assembled(ref).reshape(ref.shape)
        elif optimizer.iterations is not None and position(optimizer.iterations_key or "") == index:
            value = np.asarray(optimizer.iterations, np.int64)
        else:
            raise NotVerifiable("the dump is no list in the optimizer's own order, which is what set_weights needs")
        names.append(f"value-{index}.npy")
        np.save(os.path.join(folder, names[-1]), value, allow_pickle=False)
    return names


def _store(holding: Sequence[OptimizerState]) -> list[list[str]]:
    """The data sets of the optimizer's own list."""
    optimizer = holding[0]
    places: dict[int, list[str]] = {}
    for ref in _references(optimizer):
        if not isinstance(ref.location, H5Data):
            raise UnreadableArtifact(f"{ref.key} is no HDF5 data set")
        places[position(ref.key)] = [os.path.abspath(ref.location.path), ref.location.dataset]
    if optimizer.iterations_key and places:
        first = next(iter(places.values()))
        number = position(optimizer.iterations_key)
        places.setdefault(number, [first[0], f"{first[1].rpartition('/')[0]}/{number}"])
    return [places[index] for index in sorted(places)]
