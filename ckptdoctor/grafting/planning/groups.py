"""The settings of a result's parameter groups, whether donor and target divide their parameters alike or not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.options import Options
from ckptdoctor.state import StateDict

Group = Mapping[Any, Any]

_OF_PROGRAM = frozenset({"foreach", "fused", "capturable", "differentiable", "decoupled_weight_decay", "name"})
"""Settings that say how the target's program computes, or which class it has; they stay the target's."""
_OF_SCHEDULERS = frozenset({"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"})
"""What schedulers put into groups; they go with the scheduler's state."""
_NAMES = "param_names"


def same_division(pairs: Collection[tuple[int, int]]) -> bool:
    """Whether pairs of a target's and a donor's group give each exactly one of the other."""
    return len({one for one, _ in pairs}) == len(set(pairs)) == len({other for _, other in pairs})


def settings(
    donor: StateDict, own: StateDict | None, pairs: Sequence[tuple[int, int]], options: Options
) -> list[Group]:
    """The settings of each group of the result.

    Args:
        donor: The donor's state_dict.
        own: The target's; None if it has none, and the donor's groups are taken.
        pairs: (target's group, donor's group) of each parameter that both have.
        options: What is asked for.

    Raises:
        GraftRefused: A setting is asked for that the groups do not have.
    """
    if own is None:
        found = [{name: each for name, each in group.items() if name != _NAMES} for group in donor.groups]
    elif "hyperparameters" not in options.only:
        found = [dict(group) for group in own.groups]
    else:
        found = [_merged(number, donor, own, pairs) for number in range(len(own.groups))]
    for group in found:
        _by_hand(group, options)
    return list(found)


def _merged(number: int, donor: StateDict, own: StateDict, pairs: Sequence[tuple[int, int]]) -> dict[Any, Any]:
    """One group of the target with the donor's settings, but for what is the target's own affair.

    Where the two sides divide parameters differently, what tells the target's groups apart stays the target's, and so
    does what the donor's groups do not agree on.
    """
    mine = own.groups[number]
    theirs = [donor.groups[each] for each in sorted({other for one, other in pairs if one == number})]
    if not theirs:
        return dict(mine)
    agreed = {name: each for name, each in theirs[0].items() if all(same(each, other.get(name)) for other in theirs)}
    kept = _OF_PROGRAM | {_NAMES}
    if not same_division(pairs):
        kept |= {name for name in mine if not all(same(mine[name], each.get(name)) for each in own.groups)}
    found = {name: agreed.get(name, each) if name not in kept else each for name, each in mine.items()}
    new = {name: each for name, each in agreed.items() if name not in mine and name not in kept}
    found |= {name: each for name, each in new.items() if name in _OF_SCHEDULERS or not is_default(each)}
    return found


def same(one: object, other: object) -> bool:
    """Whether two settings are equal; tensors are where they lie in the same place."""
    return type(one) is type(other) and one == other


def is_default(value: object) -> bool:
    """Whether a setting says nothing to a version that does not have it."""
    return value is None or value is False


def _by_hand(group: dict[Any, Any], options: Options) -> None:
    if options.optimizer_class is not None and "decoupled_weight_decay" in group:
        group["decoupled_weight_decay"] = options.optimizer_class == "AdamW"
    asked = dict(options.hyperparameters)
    if options.learning_rate is not None:
        asked["lr"] = options.learning_rate
    for name, value in asked.items():
        if name not in group:
            there = ", ".join(str(each) for each in group)
            raise GraftRefused(f"the groups have no setting {name!r}: they have {there}")
        group[name] = tuple(value) if isinstance(value, list) else value
