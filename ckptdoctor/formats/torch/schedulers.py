"""Schedulers and other companions of an optimizer in files of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose

from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.formats.torch.contents import Contents, Fields
from ckptdoctor.optimizers.torch import schedules
from ckptdoctor.optimizers.torch.warmups import Warmup
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Companion, OptimizerState, SchedulerState

_COUNTS = ("last_epoch", "last_batch_iteration", "last_step")
_OF_MMENGINE = {
    "base_values": "base_lrs",
    "_last_value": "_last_lr",
    "last_step": "last_epoch",
    "_global_step": "_step_count",
}
"""mmengine's names of what PyTorch's schedulers keep (mmengine/optim/scheduler/param_scheduler.py)."""
_BOUNDS = frozenset({"begin", "end", "by_epoch", "param_name"})
"""Where in the run one of mmengine's schedulers works, and on what: the rates that follow depend on the others too."""


def schedulers(found: Contents, optimizers: Sequence[OptimizerState]) -> tuple[SchedulerState, ...]:
    """Each scheduler, with the optimizer whose rates it sets: the only one, or the one that its place names."""
    return tuple(
        scheduler(name, fields, _optimizer(number, len(found.schedulers), optimizers), found.warmup)
        for number, (name, fields) in enumerate(found.schedulers.items())
    )


def _optimizer(number: int, count: int, optimizers: Sequence[OptimizerState]) -> OptimizerState | None:
    if len(optimizers) == 1:
        return optimizers[0]
    return optimizers[number] if count == len(optimizers) else None


def scheduler(
    name: str, fields: Fields, optimizer: OptimizerState | None, warmup: Warmup | None = None
) -> SchedulerState:
    """A scheduler's state_dict.

    Args:
        name: The keys that lead to it.
        fields: The state_dict.
        optimizer: Whose rates it sets.
        warmup: The function that a LambdaLR has, if the rate in force is what it gives.
    """
    own = {key: value for key, value in fields.items() if isinstance(key, str)}
    bounded = "base_values" in own
    if bounded:
        own = {_OF_MMENGINE.get(key, key): value for key, value in own.items() if key not in _BOUNDS}
    class_name, candidates = schedules.class_of(own)
    rates = tuple(float(each) for each in _list(own.get("_last_lr")) if isinstance(each, (int, float)))
    groups = optimizer.groups if optimizer is not None else ()
    if not rates:  # torch up to 1.3 kept them in the groups alone
        rates = tuple(_rate(each.hyperparameters) for each in groups if _is_number(each.hyperparameters.get("lr")))
    group: Mapping[str, object] = groups[0].hyperparameters if groups else {}
    rate = _rate(group) if _is_number(group.get("lr")) else rates[0] if rates else None
    if not {"last_epoch", "_schedulers"} & own.keys():  # of another library, whose count may be meant otherwise
        rate = None
    count = next((own[key] for key in _COUNTS if isinstance(own.get(key), int)), _of_parts(own))
    known: dict[str, object] = dict(own)
    if class_name == "LambdaLR" and warmup is not None and _gives(warmup, own, rate):
        known[schedules.FUNCTION], candidates = warmup, ()
    return SchedulerState(
        name=name,
        class_name=class_name,
        class_candidates=candidates,
        last_epoch=count if isinstance(count, int) else None,
        learning_rates=rates,
        next=None if rate is None or bounded else schedules.ahead(known, group, rate),
        if_lost=None if rate is None or bounded else schedules.ahead(known, group, rate, lost=True),
        optimizer=optimizer.name if optimizer is not None else None,
        stored=fields,
    )


def _gives(warmup: Warmup, own: Mapping[str, Node], rate: float | None) -> bool:
    """Whether a function gives the rate in force: the arguments may be of another run."""
    bases, step = _list(own.get("base_lrs")), own.get("last_epoch")
    base = bases[0] if bases else None
    if rate is None or not isinstance(base, (int, float)) or not isinstance(step, int):
        return False
    try:
        return isclose(base * warmup.factor(step), rate, rel_tol=1e-6, abs_tol=1e-12)
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return False


def _of_parts(own: Mapping[str, Node]) -> Node:
    """ChainedScheduler's count, if its parts agree on it."""
    counts = {each.get("last_epoch") for each in _list(own.get("_schedulers")) if isinstance(each, dict)}
    return counts.pop() if len(counts) == 1 else None


def _list(value: Node) -> Sequence[Node]:
    return value if isinstance(value, (list, tuple)) and not isinstance(value, TensorRef) else ()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rate(settings: Mapping[str, object]) -> float:
    rate = settings["lr"]
    return float(rate) if isinstance(rate, (int, float)) else 0.0


def companions(found: Contents) -> tuple[Companion, ...]:
    """What exact resumption needs beside model and optimizer, as far as it is here."""
    scalers = (
        Companion("scaler", name, bool(fields), "the loss scale starts at 65,536 again, and some steps are skipped")
        for name, fields in found.scalers.items()
    )
    rng = (
        Companion("rng", name, True, "random numbers (dropout, shuffling) are others than in the run that goes on")
        for name in found.rng
    )
    averages = (
        Companion("averages", each.label, True, "averaged weights start anew from the current ones")
        for each in found.models
        if each.averaged
    )
    return (*scalers, *rng, *averages)
