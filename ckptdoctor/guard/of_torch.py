"""Optimizers and schedulers of a running PyTorch program. They are asked by what they have: torch is not imported."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ckptdoctor.errors import UsageProblem
from ckptdoctor.guard.live import Live, LiveSlot, LiveVariable, number

_STEP = "step"
_GROUP_COUNTS = ("k", "step")
_FLAT = ("FlatParameter", "FlatParam")
_WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")
"""What wrappers put before the names of a model's parameters."""


def is_optimizer(live: Any) -> bool:
    """Whether something is an optimizer of PyTorch, or stands for one."""
    return hasattr(live, "param_groups") and hasattr(live, "state")


def read(optimizer: Any, model: Any = None) -> Live:
    """What an optimizer holds.

    Args:
        optimizer: Of torch.optim, or what follows it; accelerate's and Lightning's wrappers too.
        model: The module, or several by name, whose parameters it trains.
    """
    optimizer = _innermost(optimizer)
    groups = optimizer.param_groups
    parameters = [each for group in groups for each in group["params"]]
    names = _names(model) if model is not None else _own_names(groups)
    slots: dict[tuple[str, int], LiveSlot] = {}
    counts = [group[name] for group in groups for name in _GROUP_COUNTS if name in group]
    for place, each in enumerate(parameters):
        for name, value in _flat(optimizer.state.get(each, {})):
            if name == _STEP:
                counts.append(value)
            elif hasattr(value, "detach") and hasattr(value, "shape"):
                dtype = str(value.dtype).rpartition(".")[2]
                slots[name, place] = LiveSlot(tuple(map(int, value.shape)), dtype, value)
    return Live(
        family="torch",
        class_name=type(optimizer).__name__,
        iterations=max((int(found) for each in counts if (found := number(each)) is not None), default=None),
        rates=tuple(number(group.get("lr")) for group in groups),
        variables=tuple(LiveVariable(names.get(id(each), ""), tuple(map(int, each.shape))) for each in parameters),
        slots=slots,
        sharded=type(optimizer).__module__.startswith("deepspeed") or any(map(_is_part, parameters)),
        optimizer=optimizer,
    )


def _innermost(optimizer: Any) -> Any:
    """The optimizer in a wrapper such as accelerate's."""
    inner = getattr(optimizer, "optimizer", optimizer)
    return inner if is_optimizer(inner) else optimizer


def _flat(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A parameter's state; bitsandbytes keeps what is quantized in a dictionary of its own."""
    for name, value in state.items():
        if isinstance(value, dict):
            yield from ((str(inner), each) for inner, each in value.items())
        else:
            yield str(name), value


def _is_part(parameter: Any) -> bool:
    """Whether it is a piece of a parameter: FSDP's, tensor parallelism's."""
    return (
        hasattr(parameter, "full_tensor") or type(parameter).__name__ in _FLAT or hasattr(parameter, "_is_flat_param")
    )


def _names(model: Any) -> dict[int, str]:
    """Identity of a parameter → its name in the model."""
    found: dict[int, str] = {}
    several = model.items() if isinstance(model, Mapping) and not hasattr(model, "named_parameters") else [("", model)]
    for label, module in several:
        for name, each in module.named_parameters():
            for wrapper in _WRAPPERS:
                name = name.replace(wrapper, "")  # noqa: PLW2901
            found[id(each)] = f"{label}/{name}" if label else name
    return found


def _own_names(groups: list[dict[str, Any]]) -> dict[int, str]:
    """The same by what `torch.optim.Adam(model.named_parameters())` remembers."""
    return {
        id(each): str(name)
        for group in groups
        for each, name in zip(group["params"], group.get("param_names", ()), strict=False)
    }


class LiveScheduler(NamedTuple):
    """A scheduler of a running program.

    Attributes:
        class_name: Its class.
        last_epoch: Its count, where it keeps one.
        optimizer: The optimizer whose rates it sets.
    """

    class_name: str
    last_epoch: int | None
    optimizer: Any


def scheduler(live: Any) -> LiveScheduler:
    """What a learning-rate scheduler holds; accelerate's wrapper too.

    Raises:
        UsageProblem: It is none.
    """
    inner = getattr(live, "scheduler", live)
    if not hasattr(inner, "step") or not hasattr(inner, "state_dict"):
        raise UsageProblem(f"scheduler= is {type(live).__name__}: give a learning-rate scheduler of PyTorch")
    count = getattr(inner, "last_epoch", None)
    owner = getattr(inner, "optimizer", None)
    return LiveScheduler(type(inner).__name__, count if isinstance(count, int) else None, _innermost(owner))
