"""A planned optimizer as the state_dict that `load_state_dict` takes."""

from __future__ import annotations

from itertools import islice

from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.torch.contents import Fields
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedStateDict


def planned_state(optimizer: PlannedOptimizer, target: str) -> PlannedStateDict:
    """What is planned.

    Raises:
        GraftRefused: It is no optimizer of PyTorch.
    """
    if optimizer.state_dict is None:
        raise GraftRefused("the target is a file of PyTorch, whose optimizers are PyTorch's", target)
    return optimizer.state_dict


def parts(planned: PlannedStateDict, own: Fields | None = None) -> dict[str, Node]:
    """`state` and `param_groups`.

    Args:
        planned: The optimizer.
        own: The state_dict whose place it takes: parameters are called as they are there, by numbers or by names.

    Raises:
        GraftRefused: They are called by names, and one has none.
    """
    names = planned.variables if own is not None and _by_name(own) else None
    if names is not None and None in names:
        raise GraftRefused("the target keeps optimizer state by names, and one of the donor's parameters has none")
    keys: list[Key] = list(range(len(planned.stored.states)) if names is None else names)
    state: dict[Key, Node] = {
        key: dict(each) for key, each in zip(keys, planned.stored.states, strict=True) if each is not None
    }
    rest = iter(keys)
    groups: list[Node] = []
    for group, size in zip(planned.stored.groups, planned.stored.sizes, strict=True):
        members: list[Node] = [key for key in islice(rest, size) if isinstance(key, (int, str))]
        groups.append({**group, "params": members})
    return {"state": state, "param_groups": groups}


def _by_name(own: Fields) -> bool:
    groups = own.get("param_groups")
    first = groups[0] if isinstance(groups, (list, tuple)) and groups else None
    members = first.get("params") if isinstance(first, dict) else None
    return isinstance(members, (list, tuple)) and bool(members) and isinstance(members[0], str)
