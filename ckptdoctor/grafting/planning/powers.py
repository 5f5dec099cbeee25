"""Beta powers of a TensorFlow 1 Adam in the result: as they are where the count stays, else what they are after it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers import inference, translation
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.name_based import TF1_OPTIMIZERS
from ckptdoctor.state import OptimizerState, Recoverable

_NUMBER = re.compile(r"_\d+\Z")
_DIGITS = 4
_SHORT = 1e-6
"""Betas that people set have so few digits; what follows from a power in float32 is within this of one of them."""
_USUAL = {"beta1_power": 0.9, "beta2_power": 0.999}


def kind_of(name: str) -> str:
    """`train/beta1_power_2` as "beta1_power"."""
    return _NUMBER.sub("", name.rpartition("/")[2])


def _by_graph(optimizer: OptimizerState) -> bool:
    return dialect(optimizer.generation).by_graph


def stored_powers(optimizer: OptimizerState) -> dict[str, float]:
    """An optimizer's beta powers by the last part of their names, numbered where a graph has several optimizers."""
    found: dict[str, float] = {}
    for each in optimizer.other:
        if kind_of(each.name) in _USUAL and isinstance(each.value, (int, float)):
            found[each.name.rpartition("/")[2]] = float(each.value)
    return found


def beta_powers(
    class_name: str, donor: OptimizerState, own: OptimizerState | None, numbers: translation.Numbers
) -> dict[str, float]:
    """The powers of the result, under the target's names for them.

    Args:
        class_name: The class that is written.
        donor: Where slots and powers come from.
        own: The target's optimizer.
        numbers: The count and the betas in force in the result.

    Raises:
        GraftRefused: Nothing tells what they would be.
    """
    given = stored_powers(donor) if _by_graph(donor) else {}
    held = stored_powers(own) if own is not None and _by_graph(own) else {}
    names = list(held or given or _kept(class_name, own if own is not None and own.name else donor))
    if names or given:
        _require_known(donor, own)
    if not given:
        return {name: translation.power(kind_of(name), numbers) for name in names}
    sources = {name: _source(name, names, given) for name in names}
    if numbers.iterations == donor.iterations or numbers.iterations is None:
        return {name: given[source] for name, source in sources.items()}
    sets = [
        {name: given[sources[name]] for name in names if _number(name) == number}
        for number in dict.fromkeys(map(_number, names))
    ]
    told = {each.value for each in map(_steps, sets) if each is not None}
    if len(told) > 1:
        counts = " and ".join(f"{each:,}" for each in sorted(told))
        raise GraftRefused(
            f"the beta powers are those of several optimizers, after {counts} steps: one count for all of them would "
            "be wrong for some; set it in the training program"
        )
    found: dict[str, float] = {}
    for each in sets:
        moved = _moved(each, donor, numbers)
        found.update(moved)
        # The rule that `check` will ask of the result.
        for conflict in inference.count_conflict(numbers.iterations, "the count", _steps(moved)):
            raise GraftRefused(f"the result would contradict itself: {conflict.message}")
    return found


def _kept(class_name: str, named: OptimizerState) -> Sequence[str]:
    """The powers that the class makes; those who name their slots (BERT's) keep none."""
    entries = [each for each in TF1_OPTIMIZERS if each.class_name == class_name]
    by_name = [each for each in entries if each.op_name == named.name and _by_graph(named)]
    return next((each.beta_powers for each in by_name or entries), ())


def _require_known(donor: OptimizerState, own: OptimizerState | None) -> None:
    sides = (("target", own), ("donor", donor if _by_graph(donor) else None))
    for side, each in sides:
        if each is not None and each.shared:
            names = ", ".join(other.name for other in each.shared)
            raise GraftRefused(
                f"the {side} holds beta powers of several optimizers ({names}), and nothing tells which are those of "
                f"{each.name}: let the program that made them restore them by tf.train.Saver"
            )


def _source(name: str, names: Sequence[str], given: Mapping[str, float]) -> str:
    """The donor's power for one of the target's: that of the same name, else the only one of its kind on both sides."""
    if name in given:
        return name
    kind = kind_of(name)
    theirs = [each for each in given if kind_of(each) == kind]
    ours = [each for each in names if kind_of(each) == kind]
    if len(theirs) == len(ours) == 1:
        return theirs[0]
    raise GraftRefused(
        f"the target keeps {len(ours)} of {kind} ({', '.join(ours)}), the donor {len(theirs)}: several optimizers "
        "of one class, and nothing tells whose is whose"
    )


def _number(name: str) -> str:
    return name[len(kind_of(name)) :]


def _moved(members: Mapping[str, float], donor: OptimizerState, numbers: translation.Numbers) -> dict[str, float]:
    """One optimizer's powers after another count: each tells its beta, whatever the defaults are.

    The counter beside them need not be theirs (a warm start, a GAN): where the powers tell a count under betas that
    people use, that is the count at which they stand.
    """
    told = _steps(members)
    steps = told.value if told is not None else donor.iterations
    count = numbers.iterations or 0
    found: dict[str, float] = {}
    for name, power in members.items():
        kind = kind_of(name)
        if power == 0 and steps is not None and _USUAL[kind] ** (steps + 1) > translation.SMALLEST:
            found[name] = 0.0  # the beta itself is 0
        elif power <= translation.SMALLEST:
            found[name] = translation.power(kind, numbers)
        else:
            beta = translation.implied_beta(power, steps) if steps is not None else None
            if beta is None or abs(beta - round(beta, _DIGITS)) > _SHORT:
                counted = "nothing" if donor.iterations is None else f"{donor.iterations:,}"
                raise GraftRefused(
                    f"{name} is {power:.6g} and the counter beside it says {counted}: no beta that is used gives that, "
                    f"so what it is at iteration {count:,} does not follow; set the count in the training program"
                )
            found[name] = float(power) ** ((count + 1) / ((steps or 0) + 1))
    return found


def _steps(powers: Mapping[str, float]) -> Recoverable | None:
    """The count that one optimizer's powers tell."""
    by_kind = {kind_of(name): value for name, value in powers.items()}
    return inference.steps_from_beta_powers(by_kind.get("beta1_power"), by_kind.get("beta2_power"))
