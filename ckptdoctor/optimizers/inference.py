"""Which class wrote this state, where nothing records it: from slot names, attributes, scalars and variable names."""

import re
from collections.abc import Collection, Iterable
from functools import cache, lru_cache
from math import isclose, isfinite, log
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import (
    CLASSES_BY_POPULARITY,
    HEADS,
    LAYOUTS,
    Layout,
    PerVariable,
    Single,
    classes,
    layouts,
)
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, Oddity, OtherVariable, Recoverable, Scalar

_EVERY_CLASS = frozenset({"decay", "learning_rate", "beta"})
"""Settings that tell no class of OptimizerV2: every class keeps them as variables; Ftrl's beta, since 2.3 only."""


def popularity(class_name: str) -> int:
    """A class's place among all, the most common first; declared ones come last."""
    known = CLASSES_BY_POPULARITY
    return known.index(class_name) if class_name in known else len(known)


def own_hypers(class_name: str | None) -> frozenset[str]:
    """The settings that a class of OptimizerV2 keeps as variables, and that tell it."""
    known = layouts(class_name or "", Generation.OPTIMIZER_V2)
    return frozenset(each.name for layout in known for each in layout.hypers) - _EVERY_CLASS


def settings_kept(class_name: str | None, generation: Generation | None) -> dict[str, str]:
    """Variable → setting, for the settings that a class keeps as variables."""
    known = layouts(class_name or "", generation) if generation is Generation.OPTIMIZER_V2 else ()
    return {each.name: each.setting for layout in known for each in layout.hypers}


class Inference(NamedTuple):
    """A class that fits, and the others that would fit as well."""

    class_name: str | None
    candidates: tuple[str, ...] = ()


_COUNTS_ALONE = frozenset({"iter", "iterations", "_iterations", "_variables"})
_NAMED_ELSEWHERE = frozenset({"AdamW", "Lamb"})
"""Classes that a generation of Keras lacks and others wrote for it."""


def count_of(value: Scalar | None) -> int | None:
    """A count as stored: Keras 1 wrote it as float32; anything that is no whole number is no count."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and (not isfinite(value) or value != int(value)):
        return None
    return int(value)


def snake_case(class_name: str) -> str:
    """Keras 3's automatic names: `RMSprop` → `rmsprop`, `AdamW` → `adam_w` (keras.src.utils.naming.to_snake_case)."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def class_of_name(name: str) -> str | None:
    """The class whose automatic name this is: `Adam`, `adam_w`, `adam_3`, `training/RMSprop`; None if it is none's."""
    last = name.rstrip("/").rpartition("/")[2]
    candidates = dict.fromkeys((last, re.sub(r"_\d+\Z", "", last)))
    for candidate in candidates:
        for known in CLASSES_BY_POPULARITY:
            if candidate in {known, known.lower(), snake_case(known), known.lower().replace("prop", "_prop")}:
                return known
    from ckptdoctor.optimizers import declared  # LAMB is another class than Lamb, and is declared

    for candidate in candidates:
        found = declared.class_called(candidate)
        if found is not None:
            return found
    spelled = {known.lower(): known for known in reversed(CLASSES_BY_POPULARITY)}
    return next((spelled[each.lower()] for each in candidates if each.lower() in spelled), None)


def by_slots(
    generation: Generation,
    kinds: Collection[str],
    *,
    attributes: bool = False,
    scalars: Collection[str] = (),
    hint: str | None = None,
) -> Inference:
    """Infers the class from the kinds of slots that are there.

    Args:
        generation: The generation that wrote them.
        kinds: Slot names or, with `attributes`, list attributes (`_momentums`).
        attributes: Which of the two `kinds` are.
        scalars: Names of the optimizer's scalars; with `attributes`, of everything that hangs on it.
        hint: A class that the optimizer's name suggests; wins among those that fit.
    """
    there = frozenset(kinds)
    if hint is not None and hint not in classes(generation) and (hint in _NAMED_ELSEWHERE or layouts(hint, generation)):
        return Inference(hint)
    if not there and set(scalars) <= _COUNTS_ALONE:
        return Inference(hint)  # of a count alone nothing follows
    fitting = list(_catalogued(generation, there, frozenset(scalars), attributes=attributes))
    if not there and generation is Generation.OPTIMIZER_V2:
        own = set(scalars) - {"iter", "learning_rate", "decay"}
        fitting = [name for name in fitting if own_hypers(name) <= own] or fitting
        most = max((len(own_hypers(name)) for name in fitting), default=0)
        fitting = [name for name in fitting if len(own_hypers(name)) == most]
    if not fitting and hint is None:
        fitting = _declared(generation, there, scalars, attributes=attributes)
    ordered = sorted(fitting, key=popularity)
    if hint is not None and (hint in ordered or not there or not ordered):
        # The automatic name of a class is as good as a record of it: only who renames an optimizer could mislead.
        return Inference(hint)
    return Inference(ordered[0], tuple(ordered[1:])) if ordered else Inference(None)


@lru_cache(maxsize=64)
def _catalogued(
    generation: Generation, there: frozenset[str], scalars: frozenset[str], *, attributes: bool
) -> tuple[str, ...]:
    """The classes that fit; asked once for all checkpoints of a run."""
    known = (each for each in LAYOUTS if each.generation is generation)
    fitting = (each.class_name for each in known if _fits(each, there, scalars, attributes=attributes))
    return tuple(dict.fromkeys(fitting))


def _declared(
    generation: Generation, there: frozenset[str], scalars: Collection[str], *, attributes: bool
) -> list[str]:
    """Declared classes that fit where none of the catalogue does; those around others are told by them."""
    from ckptdoctor.optimizers import declared

    known = [each.layout for each in declared.every() if each.layout.generation is generation and not each.wraps]
    return [each.class_name for each in known if _fits(each, there, scalars, attributes=attributes)]


def _fits(layout: Layout, there: frozenset[str], scalars: Collection[str], *, attributes: bool) -> bool:
    def label(kind: object) -> str:
        return str(getattr(kind, "attribute" if attributes else "name"))

    head = {label(kind) for block in HEADS[layout.generation] if isinstance(block, PerVariable) for kind in block.kinds}
    known = {label(kind) for kind in layout.kinds}
    always = {label(kind) for kind in layout.kinds if not kind.when}
    singles = [block for block in layout.blocks if isinstance(block, Single)]
    if any(single.attribute and single.attribute not in scalars for single in singles):
        return False
    if attributes and not _attributes_of(layout) <= set(scalars):
        return False
    if attributes and (set(scalars) & _telling(layout.generation)) - known - head - _attributes_of(layout):
        return False
    if not there - head:
        return True
    if layout.generation is Generation.OPTIMIZER_V2 and scalars:
        wanted = own_hypers(layout.class_name)
        if layout.class_name != "Nadam" and "momentum_cache" in scalars:
            return False
        kept = {each.name for each in layout.hypers} | {single.name for single in singles} | _COUNTS_ALONE
        if not wanted <= set(scalars) <= kept | {"beta"}:
            return False
    return there - head <= known and always <= there


def _attributes_of(layout: Layout) -> set[str]:
    """Attributes that an object of this class always has: RMSprop's lists exist even where they are empty."""
    lists = {
        kind.attribute for kind in layout.kinds if kind.when in {"momentum", "centered"} and layout.class_name != "SGD"
    }
    singles = {block.attribute for block in layout.blocks if isinstance(block, Single)}
    return (lists | singles | set(layout.attributes)) - {""}


@cache
def _telling(generation: Generation) -> frozenset[str]:
    """Attributes that only optimizers of some classes have: Nadam's product, RMSprop's lists even where empty."""
    return frozenset(each for layout in LAYOUTS if layout.generation is generation for each in _attributes_of(layout))


_SMALLEST = 1e-37  # below it float32 has lost digits, or everything
_TELLING = 0.2  # how far from a whole number a count may be, for its rounding errors


def rate_conflict(stored: object, configured: object) -> tuple[Oddity, ...]:
    """Whether a stored learning rate is not the configured one, up to float32."""
    numbers = [each for each in (finite(stored), finite(configured)) if each is not None]
    if len(numbers) < 2 or isclose(*numbers, rel_tol=1e-5, abs_tol=1e-12):  # noqa: PLR2004 - both of them
        return ()
    text = f"the stored learning rate is {stored:.6g}, the configuration says {configured:.6g}"
    return (Oddity("V005", text),)


def count_conflict(count: int | None, key: str | None, recovered: Recoverable | None) -> tuple[Oddity, ...]:
    """Whether beta powers tell of another number of steps than the count."""
    if count is None or recovered is None or recovered.value == count:
        return ()
    return (Oddity("V004", f"{key} is {count:,}, but {recovered.source} says {recovered.value:,} steps"),)


_FLAT = {"float16": 6e-5, "half": 6e-5, "float64": 2e-308, "double": 2e-308}
"""The smallest normal number of a type, where it is not that of float32: TensorFlow flushes what is below it."""
_EXACT = ("float32", "float", "float64", "double")
"""Types in which no beta that anybody uses is rounded to 1, as bfloat16 does it with 0.999."""
_LEAST_BETA = 0.9


def power_conflict(count: int | None, key: str | None, powers: Iterable[OtherVariable]) -> tuple[Oddity, ...]:
    """Whether a beta power is what it cannot be after so many steps: each lies between 0 and 1.

    It may be 0 after so many that it has underflowed, and beta1_power always: GANs are trained with a beta_1 of 0.
    """
    found: dict[str, Oddity] = {}
    steps = count or 0
    for each in powers if steps > 0 else ():
        value, kind = each.value, each.name.rpartition("/")[2][: len("beta1_power")]
        if isinstance(value, (int, float)) and kind not in found and not _is_power(value, kind, each.tensor, steps):
            text = f"{key} is {steps:,}, but {each.name} is {value:g}: after a step it lies between 0 and 1"
            found[kind] = Oddity("V004", text)
    return tuple(found.values())


def _is_power(value: float, kind: str, tensor: TensorRef, steps: int) -> bool:
    if value == 0:
        return kind == "beta1_power" or _LEAST_BETA ** min(steps + 1, 10_000) < _FLAT.get(tensor.dtype, _SMALLEST)
    return 0 < value < 1 or (value == 1 and tensor.dtype not in _EXACT)


USUAL_BETAS = tuple((first, second) for second in (0.999, 0.99, 0.9, 0.98, 0.9999) for first in (0.9, 0.5, 0.95, 0.8))
"""Betas that people train with, the defaults first."""


def steps_from_beta_powers(
    beta1_power: float | None, beta2_power: float | None, betas: Iterable[tuple[float, float]] = USUAL_BETAS
) -> Recoverable | None:
    """The count behind TF1 Adam's beta powers: `beta^(t+1)` after t steps (tf.compat.v1.train.AdamOptimizer._finish).

    Both powers must agree on it under some of the betas; a power that underflowed or whose rounding errors have grown
    past telling (float32, some thousand steps) answers nothing, and what is left answers under the first betas only.
    """
    powers = [(power, name) for power, name in ((beta2_power, "beta2_power"), (beta1_power, "beta1_power"))]
    telling = {name: power for power, name in powers if power is not None and _SMALLEST < power < 1}
    for first, second in betas:
        counts = {
            name: log(power) / log(first if name == "beta1_power" else second) - 1 for name, power in telling.items()
        }
        value = round(next(iter(counts.values()), -1))
        if value >= 0 and all(abs(count - value) <= _TELLING for count in counts.values()):
            return Recoverable(value, next(iter(counts)))
        if len(counts) < len(powers):
            break
    return None
