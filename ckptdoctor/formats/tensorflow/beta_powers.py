"""Beta powers in a name-based checkpoint: every Adam of a graph keeps a set, and only numbers tell the sets apart.

The n-th Adam of a graph makes `beta1_power_n`, under the name scope in which it made them; nothing else of it has that
number. Whose a set is therefore only follows where there is one Adam, or where the scopes agree.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.optimizers import inference
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Oddity, OtherVariable, Recoverable, Wrapper

_POWER = re.compile(r"(beta[12]_power)(?:_(\d{1,6}))?\Z")
_SCALES = ("current_loss_scale", "loss_scale")
_GOOD_STEPS = ("good_steps", "num_good_steps", "bad_steps")


class PowerSet(NamedTuple):
    """The beta powers of one optimizer.

    Attributes:
        scope: What stands before their names.
        members: The powers, beta_1's first.
    """

    scope: str
    members: tuple[OtherVariable, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which powers they are, without scopes and numbers."""
        return tuple(name for each in self.members if (name := power_name(each.name)))

    @property
    def steps(self) -> Recoverable | None:
        """The count that they tell under the usual betas."""
        values = {
            name: each.value
            for each in self.members
            if (name := power_name(each.name)) and isinstance(each.value, float)
        }
        return inference.steps_from_beta_powers(values.get("beta1_power"), values.get("beta2_power"))


def power_name(name: str) -> str | None:
    """`train/beta1_power_2` as "beta1_power"; None if a name is no beta power's."""
    match = _POWER.match(name.rpartition("/")[2])
    return match[1] if match else None


def take_powers(left: dict[str, TensorRef], scalars: Iterable[str]) -> list[PowerSet]:
    """Takes the beta powers out of `left`, in the order in which a graph numbers them."""
    found: dict[tuple[str, int], list[OtherVariable]] = {}
    for name in sorted(scalars):
        match = _POWER.match(name.rpartition("/")[2])
        if match:
            ref = left.pop(name)
            scope = name[: -len(match[0])]
            found.setdefault((scope, int(match[2] or 0)), []).append(OtherVariable(name, ref, read_scalar(ref)))
    return [PowerSet(scope, tuple(members)) for (scope, _), members in sorted(found.items())]


def conflicts(sets: Sequence[PowerSet], steps: tuple[str, int] | None) -> tuple[Oddity, ...]:
    """Where beta powers contradict the step.

    Of several optimizers one that the step counts may stand beside others that stepped less often, or never; and those
    that take turns add up to the step.
    """
    if steps is None:
        return ()
    key, count = steps
    told = [each.steps for each in sets]
    counts = [each.value for each in told if each is not None]
    counted = len(sets) > 1 and (count in counts or sum(counts) == count)
    found: list[Oddity] = []
    for each, recovered in zip(sets, told, strict=True):
        found += inference.power_conflict(count, key, each.members)
        if recovered is not None and not (counted and recovered.value <= count):
            found += inference.count_conflict(count, key, recovered)
    return tuple(found)


def take_loss_scale(left: dict[str, TensorRef], scalars: Iterable[str]) -> Wrapper | None:
    """Takes the state of TensorFlow 1's loss scaling out of `left`: a scale, and steps since it changed.

    Sources: tf.compat.v1.train.experimental.DynamicLossScale, tf.contrib.mixed_precision.loss_scale_manager.
    """
    by_last = {name.rpartition("/")[2]: name for name in scalars if name in left}
    scales = [by_last[each] for each in _SCALES if each in by_last and left[by_last[each]].dtype not in INTEGRAL]
    counts = [by_last[each] for each in _GOOD_STEPS if each in by_last and left[by_last[each]].dtype in INTEGRAL]
    if not scales or not counts:
        return None
    variables = tuple(
        OtherVariable(name, ref, read_scalar(ref)) for name in (scales[0], *counts) if (ref := left.pop(name))
    )
    scale = variables[0].value
    return Wrapper("LossScaleOptimizer", float(scale) if isinstance(scale, (int, float)) else None, variables)


def matched(sets: Sequence[PowerSet], scopes: Sequence[str]) -> tuple[list[tuple[PowerSet, ...]], list[PowerSet]]:
    """Whose each set is: for each optimizer its own, and the sets of which nothing tells it.

    Args:
        sets: The sets.
        scopes: The variable scope of each optimizer's slots.
    """
    own: list[tuple[PowerSet, ...]] = [() for _ in scopes]
    rest = list(sets)
    for number, scope in enumerate(scopes):
        mine = [each for each in rest if each.scope == scope]
        if scope and len(mine) == 1 and scopes.count(scope) == 1:
            own[number] = (mine[0],)
            rest.remove(mine[0])
    without = [number for number, each in enumerate(own) if not each]
    if len(without) == 1:
        own[without[0]], rest = tuple(rest), []
    return own, rest


def noted(sets: Sequence[PowerSet], slots: Sequence[str]) -> tuple[str, ...]:
    """A sentence where several optimizers share their op name.

    Args:
        sets: Their beta powers.
        slots: The names of each one's slots; empty where nothing tells whose slots are whose.
    """
    if len(sets) < 2:  # noqa: PLR2004 - several
        return ()
    said = f"{len(sets)} sets of beta powers: {len(sets)} optimizers of this class trained these variables"
    told = [_at(each.steps) for each in sets]
    if slots:
        return (f"{said}; {'; '.join(f'{own} {at}' for own, at in zip(slots, told, strict=True))}",)
    return (f"{said}; by their powers {', '.join(told)}",)


def _at(steps: Recoverable | None) -> str:
    if steps is None:
        return "at a step that they do not tell"
    return f"at step {steps.value:,}" if steps.value else "never stepped"
