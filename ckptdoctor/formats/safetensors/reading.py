"""safetensors files as training state.

No convention says how optimizer state is named. Three are read: flattened state_dicts of PyTorch
(`optimizer.state.0.exp_avg`), MLX's (`layers.0.weight.m`), and trees of JAX, keys joined (`opt_state/1/0/mu/…`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ckptdoctor import storage
from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.safetensors import Safetensors, read_safetensors
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.formats.trees import state_of
from ckptdoctor.optimizers.optax.tree import Leaf
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, ModelVariable, Oddity, Producer, TrainingState

_OPTAX_SLOTS = ("mu", "nu", "count", "trace", "ema", "acc_grads")
_OPTAX = re.compile(rf"(?:^|[./])(?:{'|'.join(_OPTAX_SLOTS)})(?:[./]|$)")
_TORCH = re.compile(r"(?P<front>(?:.*\.)?(?:optim(?:izer)?\w*\.)?)state\.(?P<parameter>.+)\.(?P<slot>[^.]+)\Z")
_FRAMEWORKS = {"pt": "torch", "flax": "jax", "mlx": "mlx", "tf": "tensorflow", "np": None}
_COUNTED = re.compile(r"(?:ss_)?(?:steps?|epoch|global_step)\Z")
_MOST_DIGITS = 18


def read(path: str) -> TrainingState:
    """Reads a file.

    Raises:
        UnreadableArtifact: It is truncated, or claims what is not there.
    """
    found = read_safetensors(path)
    producer = Producer(_FRAMEWORKS.get(found.metadata.get("format", "")))
    with kept_open():
        names = "\n".join(found.tensors)  # looked through at once: there may be 100,000
        if "state." in names and any(_TORCH.match(name) for name in found.tensors):
            return _of_torch(path, found, producer)
        if (slots := _suffixed(found.tensors)) is not None:
            return _by_suffix(path, found, slots, producer)
        if any(word in names for word in _OPTAX_SLOTS) and any(_OPTAX.search(name) for name in found.tensors):
            separator = "/" if "/" in names else "."
            leaves = [Leaf(tuple(name.split(separator)), _scalar(ref)) for name, ref in found.tensors.items()]
            state = state_of(path, Format.SAFETENSORS, leaves, Producer("jax"))
            return state._replace(counters={**_counters(found.metadata), **state.counters})
    variables = tuple(ModelVariable(name, ref) for name, ref in found.tensors.items())
    return TrainingState(
        path=path,
        format=Format.SAFETENSORS,
        producer=producer,
        variables=variables,
        counters=_counters(found.metadata),
        oddities=tuple(_told(found.metadata)),
    )


def _scalar(ref: TensorRef) -> TensorRef:
    """The library of old had no scalars: programs gave counts a dimension."""
    return ref._replace(shape=()) if ref.shape == (1,) and ref.dtype.startswith(("int", "uint")) else ref


def _counters(metadata: Mapping[str, str]) -> dict[str, int]:
    return {
        name: int(value)
        for name, value in metadata.items()
        if _COUNTED.match(name) and value.isdecimal() and len(value) <= _MOST_DIGITS
    }


def _told(metadata: Mapping[str, str]) -> list[Oddity]:
    """What kohya's scripts write about the optimizer beside the weights of a LoRA: no state, only its name."""
    name = metadata.get("ss_optimizer", "")
    if not name:
        return []
    return [Oddity("S001", f"its metadata names {name[:80]}, of whose state nothing is here")]


# ---------------------------------------------------------------------------------------------------------- PyTorch


def _of_torch(path: str, found: Safetensors, producer: Producer) -> TrainingState:
    from ckptdoctor.formats.torch.assembly import assemble
    from ckptdoctor.formats.torch.contents import Contents, Model

    contents = Contents()
    states: dict[str, dict[str, dict[Key, Node]]] = {}
    weights: dict[str, TensorRef] = {}
    for name, ref in found.tensors.items():
        told = _TORCH.match(name)
        if told is None:
            weights[name] = ref
        else:
            own = states.setdefault(told["front"].rstrip("."), {}).setdefault(told["parameter"], {})
            own[told["slot"]] = ref._replace(shape=()) if told["slot"] == "step" and ref.size == 1 else ref
    for label, state in states.items():
        numbered = all(name.isdecimal() for name in state)
        order = sorted(state, key=int) if numbered else list(state)
        keyed: dict[Key, Node] = {int(name) if numbered else name: state[name] for name in order}
        contents.optimizers[label] = {"state": keyed, "param_groups": [{"params": list(keyed)}]}
    if weights:
        prefix = "model." if all(name.startswith("model.") for name in weights) else ""
        plain = {name.removeprefix(prefix): ref for name, ref in weights.items()}
        contents.models.append(Model("model", plain, sorted_names=True))
    contents.counters.update(_counters(found.metadata))
    return assemble(path, Format.SAFETENSORS, producer._replace(framework="torch"), contents)


# ----------------------------------------------------------------------------------- MLX, and slots below parameters

_MLX_SLOTS = {"m": "exp_avg", "v": "exp_avg_sq", "u": "acc_delta"}
"""mlx.optimizers' names → torch.optim's, by which the class is told; what stands alone may be several."""
_BY_KINDS: dict[frozenset[str], tuple[str, tuple[str, ...]]] = {
    frozenset("mv"): ("Adam", ("AdamW", "Adamax")),
    frozenset("vu"): ("AdaDelta", ()),
    frozenset({"exp_avg", "exp_avg_sq"}): ("Adam", ("AdamW", "NAdam", "RAdam")),
}


def _suffixed(tensors: Mapping[str, TensorRef]) -> dict[str, dict[str, TensorRef]] | None:
    """Parameter → its slots, where every tensor but `step` ends in a slot's name; without `step`, in a telling one."""
    found: dict[str, dict[str, TensorRef]] = {}
    for name, ref in tensors.items():
        parameter, dot, slot = name.rpartition(".")
        if name in {"step", "learning_rate"}:
            continue
        if not dot or not (slot.startswith("exp_avg") or (len(slot) == 1 and "step" in tensors)):
            return None
        found.setdefault(parameter, {})[slot] = ref
    return found or None


def _by_suffix(
    path: str, found: Safetensors, slots: Mapping[str, Mapping[str, TensorRef]], producer: Producer
) -> TrainingState:
    from ckptdoctor.containers.tensors.values import read_scalar
    from ckptdoctor.optimizers.inference import count_of
    from ckptdoctor.optimizers.torch.catalogue import role_of
    from ckptdoctor.state import OptimizerState, OtherVariable, Slot

    kinds = {slot for own in slots.values() for slot in own}
    name, candidates = _BY_KINDS.get(frozenset(kinds), (None, ()))
    if kinds == {"v"}:
        candidates = ("SGD", "Adagrad", "RMSprop")
    elif kinds == {"m"}:
        name = "Lion"
    count, rate = found.tensors.get("step"), found.tensors.get("learning_rate")
    optimizer = OptimizerState(
        name="optimizer",
        class_name=name,
        class_inferred=name is not None,
        class_candidates=candidates,
        generation=None,
        iterations=None if count is None else count_of(read_scalar(count._replace(shape=()))),
        iterations_key=None if count is None else "step",
        iterations_tensor=count,
        hyperparameters={} if rate is None else {"learning_rate": read_scalar(rate._replace(shape=()))},
        slots=tuple(
            Slot(slot, role_of(None, _MLX_SLOTS.get(slot, slot) if name else slot), parameter, ref, "name")
            for parameter, own in slots.items()
            for slot, ref in own.items()
        ),
        other=() if rate is None else (OtherVariable("learning_rate", rate, read_scalar(rate._replace(shape=()))),),
    )
    beside = path.replace(".optimizer.", ".model.")  # the documented recipe saves both under one stem
    weights = read_safetensors(beside).tensors if beside != path and storage.is_file(beside) else {}
    variables = tuple(
        ModelVariable(name, ref, True if name in slots else None) for name, ref in weights.items()
    ) or tuple(
        ModelVariable(parameter, TensorRef("", "", next(iter(own.values())).shape, None), trainable=True)
        for parameter, own in slots.items()
    )
    return TrainingState(
        path=path,
        format=Format.SAFETENSORS,
        producer=Producer("mlx") if any(len(kind) == 1 for kind in kinds) else producer,
        variables=variables,
        optimizers=(optimizer,),
    )
