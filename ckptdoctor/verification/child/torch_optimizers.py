"""Optimizers of PyTorch over stand-in parameters, and what any of them holds after it was loaded."""

from __future__ import annotations

import ctypes
import inspect
import math
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ckptdoctor.verification.child.attempts import Said, Unproven, describe
from ckptdoctor.verification.child.snapshot import Store
from ckptdoctor.verification.child.torch_loading import torch

RATE = 0.5
"""The learning rate of every stand-in: nobody trains with it, so it cannot be met by accident."""
_HOMES = {
    "": "torch.optim",
    "transformers": "transformers.optimization",
    "bitsandbytes": "bitsandbytes.optim",
    "lion-pytorch": "lion_pytorch",
    "schedulefree": "schedulefree",
    "prodigyopt": "prodigyopt",
}
"""Package → the module that has its optimizers."""
_NEEDS_MORE = frozenset({"LBFGS", "SparseAdam"})
"""Classes whose step needs a closure, or sparse gradients."""
_OF_DEVICES = ("capturable", "fused", "foreach", "differentiable")
"""Settings of how a step is computed, which a CPU may lack; none of them concerns the state."""
_AT_ONCE = 1 << 24
_LARGEST = 1 << 29
"""Elements of a parameter beyond which no gradient is made for it: its shape may be a mere claim."""
_CHUNK = 8 << 20


def stand_in(wanted: dict[str, Any]) -> Any:
    """An optimizer of the wanted class over parameters of the wanted shapes, in the wanted groups.

    Raises:
        Unproven: The class is not known, or not installed.
    """
    return over([parameter(each) for each in wanted["trained"]], wanted)


def parameter(wanted: dict[str, Any]) -> Any:
    """A parameter of zeros; where no shape is known, the smallest matrix, which every class takes."""
    module = torch()
    shape = wanted["shape"] if wanted["shape"] is not None else [1, 1]
    kind = getattr(module, wanted["dtype"])
    return module.nn.Parameter(module.zeros(shape, dtype=kind), requires_grad=kind.is_floating_point)


def over(parameters: list[Any], wanted: dict[str, Any], settings: bool = False) -> Any:  # noqa: FBT001, FBT002
    """An optimizer of the wanted class over these parameters, in the wanted groups.

    Args:
        parameters: In the optimizer's order.
        wanted: The class and its groups.
        settings: It has the artifact's, from which follows what state it makes by itself.

    Raises:
        Unproven: The class is not known, or not installed.
    """
    cls = _class(wanted)
    accepted = inspect.signature(cls.__init__).parameters
    groups: list[dict[str, Any]] = []
    start = 0
    for each in wanted["groups"]:
        own = {name: value for name, value in each["settings"].items() if settings and name in accepted}
        own = {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
        groups.append(dict(own, params=parameters[start : start + each["size"]]))
        start += each["size"]
    arguments: dict[str, Any] = {"lr": RATE}
    if "relative_step" in accepted:
        arguments["relative_step"] = False  # transformers' Adafactor takes no rate with it
    if len(groups) == 1 and wanted["class"] == "LBFGS":
        return cls(groups[0]["params"], **arguments)
    return cls(groups, **arguments)


def _class(wanted: dict[str, Any]) -> Any:
    who = f"its optimizer ({wanted['name']})" if wanted["name"] else "its optimizer"
    only = "only that torch.load reads the file is proven"
    if wanted["class"] is None:
        raise Unproven(f"the class of {who} cannot be told, so none was made to load it: {only}")
    package = wanted["package"]
    home = _HOMES.get(package)
    if home is None:
        raise Unproven(f"{who} is {package}'s own {wanted['class']}, which verify cannot make: {only}")
    if find_spec(home.partition(".")[0]) is None:
        raise Unproven(f"{who} is {wanted['class']} of {package}, which is not installed: {only}")
    cls = getattr(import_module(home), wanted["class"], None)
    if cls is None:
        raise Unproven(f"{home} has no {wanted['class']} here, the class of {who}: {only}")
    return cls


def parameters_of(optimizer: Any) -> list[Any]:
    """What an optimizer trains, group by group."""
    return [each for group in optimizer.param_groups for each in group["params"]]


def keys_of(saved: Any) -> list[str]:
    """What a state_dict calls the parameters, in its order."""
    return [str(member) for group in saved["param_groups"] for member in group["params"]]


def check(optimizer: Any) -> None:
    """Takes a first step with gradients of zero: `load_state_dict` checks no shape and no setting, that does.

    Parameters are taken a few at a time, so that no more than those needs memory.

    Raises:
        Said: It fails.
    """
    if type(optimizer).__name__ in _NEEDS_MORE or not type(optimizer).__module__.startswith("torch.optim"):
        return
    for group in optimizer.param_groups:
        group.update({name: False for name in _OF_DEVICES if group.get(name)})
    for some in _portions(parameters_of(optimizer)):
        for each in some:
            each.grad = torch().zeros_like(each)
        try:
            optimizer.step()
        except Exception as error:
            if "not implemented for" not in str(error):  # a type that this CPU has no arithmetic for
                raise Said(
                    f"load_state_dict takes it without a word, and the first step fails: {describe(error)}"
                ) from error
        for each in some:
            each.grad = None


def _portions(parameters: list[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    size = 0
    for each in parameters:
        each.grad = None
        if each.is_floating_point() and each.requires_grad and each.numel() <= _LARGEST:
            some.append(each)
            size += each.numel()
        if size >= _AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def take(
    optimizer: Any, keys: list[str], store: Store, names: dict[int, str] | None = None, **more: Any
) -> dict[str, Any]:
    """Everything that an optimizer holds: its count and its rate, and each parameter's state.

    Args:
        optimizer: After it was loaded.
        keys: What the artifact calls its parameters, in its order.
        store: Where arrays go.
        names: Identities of a program's parameters → their names; None for stand-ins.
        **more: Kept in the answer as it is.
    """
    parameters = parameters_of(optimizer)
    slots = []
    counts = [group[name] for group in optimizer.param_groups for name in ("k", "step") if name in group]
    for index, each in enumerate(parameters):
        for name, value in _flat(optimizer.state.get(each, {})):
            found = describe_value(value, store)
            if found is not None:
                slots.append(dict(found, name=name, variable=index))
                counts += [found["constant"]] if name == "step" and found["constant"] is not None else []
    rate = optimizer.param_groups[0].get("lr")
    return dict(
        more,
        class_name=type(optimizer).__name__,
        generation="torch",
        iterations=max((int(count) for count in counts if math.isfinite(count)), default=None),
        learning_rate=None if rate is None else float(rate),
        initial_rate=RATE,
        variables=[
            {
                "path": "" if names is None else names.get(id(each), ""),
                "shape": [int(size) for size in each.shape],
                "key": keys[index] if index < len(keys) else "",
            }
            for index, each in enumerate(parameters)
        ],
        slots=slots,
        keyed=True,
        given=names is None,
    )


def _flat(state: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in state.items():
        if isinstance(value, dict):
            for inner, each in value.items():
                yield str(inner), each
        else:
            yield str(name), value


def describe_value(value: Any, store: Store) -> dict[str, Any] | None:
    """A tensor or a number as its shape, type and digest; None for anything else."""
    module = torch()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        kind = module.int64 if isinstance(value, int) else module.float64
        value = module.tensor(value, dtype=kind)
    if not isinstance(value, module.Tensor):
        return None
    plain = value.detach().cpu().contiguous()
    for resolve in ("resolve_conj", "resolve_neg"):
        plain = getattr(plain, resolve, lambda plain=plain: plain)()
    name = str(plain.dtype).rpartition(".")[2]
    shape = [int(size) for size in plain.shape]
    found: dict[str, Any] = {
        "shape": shape, "dtype": name, "sha256": _digest(plain, name, shape), "constant": None, "file": None
    }  # fmt: skip
    known = found["sha256"] in store.known
    if not plain.numel() or plain.is_complex() or (known and shape):
        return found
    wide = plain if plain.dtype == module.float64 or not plain.is_floating_point() else plain.float()
    first = wide.reshape(-1)[0]
    if bool((wide == first).all()):
        found["constant"] = float(first)
    elif not known and find_spec("numpy") is not None:
        store.keep(found, wide.numpy())
    return found


def _digest(plain: Any, name: str, shape: list[int]) -> str:
    """As the parent computes it; by the tensor's own memory, as numpy lacks some of its types."""
    found = sha256(f"{name}{shape}".encode())
    start, end = plain.data_ptr(), plain.data_ptr() + plain.numel() * plain.element_size()
    while start < end:
        size = min(_CHUNK, end - start)
        found.update((ctypes.c_char * size).from_address(start))
        start += size
    return found.hexdigest()
