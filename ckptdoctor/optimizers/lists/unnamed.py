"""Which optimizer wrote a list that has neither names nor a configuration: a dump of `get_weights()`.

Every layout of the catalogue whose pattern of shapes the list shows is a reading of it (`layout.fit_alone`); values
rule some out and speak against others (`evidence`). Of the rest, the one that explains the list by the least wins: SGD
would explain any, each array as a variable of its own, where Adam needs half the variables to explain why the shapes
come twice. A list without a count is taken for optimizer state only if its values say so: a model's weights are such a
list as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2

from ckptdoctor.optimizers.catalogue import LAYOUTS, WRAPPED_LAYOUTS, Layout, SlotKind, layouts
from ckptdoctor.optimizers.inference import popularity
from ckptdoctor.optimizers.keras.config import OptimizerConfig
from ckptdoctor.optimizers.lists.alone import fit_alone
from ckptdoctor.optimizers.lists.around import own_length
from ckptdoctor.optimizers.lists.evidence import Observed, all_zero, contradicts, doubts, doubts_of_class, supported
from ckptdoctor.optimizers.lists.layout import ITERATION, LEARNING_RATE, Fit, Item
from ckptdoctor.state import Generation, Role

_RARE = frozenset({"use_ema", "gradient_accumulation"})
"""Settings that add a block of their own to any optimizer: believed only where nothing plainer fits."""

_GENERATIONS = (Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3, Generation.KERAS1)
"""By how many dumps each has left behind."""

MAX_ELEMENTS = 20_000
"""Longer lists are no optimizer's: the largest models have a few thousand variables."""

_RARE_BITS = 8
_DOUBT_BITS = 6
_PEERS = 3
"""Readings that agree in so many parts of their rank differ by what is common only."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What an artifact says beside the list.

    Attributes:
        config: A configuration that was dumped with it.
        generation: Which implementation wrote it, from names.
        class_name: The class, from the optimizer's name.
        told: The artifact calls the list an optimizer's.
        wrapped: It stands inside a LossScaleOptimizer's.
    """

    config: OptimizerConfig | None = None
    generation: Generation | None = None
    class_name: str | None = None
    told: bool = False
    wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a list is.

    Attributes:
        fit: The best reading, of the elements from `start` on; without the elements that `lacking` counts.
        class_name: The class, or None where it cannot be told.
        candidates: Other classes that fit.
        generations: Implementations that fit for this class, the likeliest first.
        start: Elements at the front that are a LossScaleOptimizer's own.
        lacking: Scalars of the head (count, learning rate) that the list lacks.
        order_open: Equal shapes leave open which element is which.
    """

    fit: Fit
    class_name: str | None
    candidates: tuple[str, ...]
    generations: tuple[Generation, ...]
    start: int = 0
    lacking: int = 0
    order_open: bool = False


@dataclass(frozen=True, slots=True)
class _Ranked:
    fit: Fit
    rank: tuple[float, ...]


def judge(items: Sequence[Observed], hints: Hints | None = None) -> Verdict | None:
    """Finds what a list is.

    Returns:
        The verdict; None if it is no optimizer's state as far as can be seen.
    """
    hints = hints or Hints()
    if not items or len(items) > MAX_ELEMENTS:
        return None
    found = _judge(items, hints)
    if found is None and hints.config is not None:
        # Recompiled models and copied files: the list is another optimizer's than the configuration says.
        other = _judge(items, Hints(told=True))
        return replace(other, class_name=hints.config.class_name, candidates=()) if other is not None else None
    return found


def _judge(items: Sequence[Observed], hints: Hints) -> Verdict | None:
    wrapped = own_length([item.integral if _is_number(item) else None for item in items[:5]])
    if wrapped:
        inner = _counted(items[wrapped:], replace(hints, wrapped=True, generation=Generation.KERAS3))
        if inner is not None:
            return replace(inner, start=wrapped)
    if _is_number(items[0]):
        return _counted(items, hints)
    return _uncounted(items, hints)


def _is_number(item: Observed) -> bool:
    return item.shape == () and item.value is not None


def _counted(items: Sequence[Observed], hints: Hints) -> Verdict | None:
    """A list that begins with a number."""
    if len(items) <= len((ITERATION, LEARNING_RATE)) and all(map(_is_number, items)):
        return _head_only(items, hints)
    ranked = _ranked(items, items, hints, 0)
    return _verdict(ranked, items, hints, 0) if ranked else None


def _uncounted(items: Sequence[Observed], hints: Hints) -> Verdict | None:
    """A list without a count: Keras before 2.3, TensorFlow 2.10's experimental optimizers, or a count left out."""
    count, rate = Observed((), "int64"), Observed((), "float32")
    for missing in ((), (count,), (count, rate)):
        ranked = [
            each
            for each in _ranked([*missing, *items], items, hints, len(missing))
            if len(_head(each.fit)) == len(missing)
            and (hints.told or supported(_without_head(each.fit, len(missing)), items))
            and not (doubts(each.fit, [*missing, *items]) and not hints.told)
        ]
        if ranked and not (all_zero(items) and not hints.told):
            return _verdict(ranked, items, hints, len(missing))
    return None


def _head(fit: Fit) -> tuple[object, ...]:
    return tuple(a.kind for a in fit.assigned[:2] if a.kind in {ITERATION, LEARNING_RATE})


def _without_head(fit: Fit, count: int) -> Fit:
    return Fit(fit.layout, fit.settings, fit.assigned[count:])


def _head_only(items: Sequence[Observed], hints: Hints) -> Verdict | None:
    """A count, and perhaps a learning rate. One that has stepped keeps no slots: plain SGD. At 0, it can be any."""
    generation = Generation.KERAS3 if len(items) > 1 else None
    stepped = bool(items[0].value)
    layouts = [
        layout
        for layout in LAYOUTS
        if layout.class_name == "SGD"
        and layout.generation is (generation or hints.generation or Generation.OPTIMIZER_V2)
    ]
    fits = [each for each in fit_alone([item.item for item in items], layouts) if not contradicts(each, items)]
    if not fits:
        return None
    recorded = hints.config.class_name if hints.config else hints.class_name
    name = recorded or ("SGD" if stepped else None)
    return Verdict(fits[0], name, (), (fits[0].layout.generation,) if stepped or generation else ())


def _layouts(hints: Hints) -> list[Layout]:
    generation = (hints.config.generation if hints.config else None) or hints.generation
    wanted = hints.config.class_name if hints.config else None
    known = (*LAYOUTS, *WRAPPED_LAYOUTS) if hints.wrapped else LAYOUTS
    open_to = [each for each in known if generation in {None, each.generation}]
    # A class that is not in the catalogue: any layout of its generation that fits is better than none.
    found = [each for each in open_to if wanted in {None, each.class_name}]
    generations = [each for each in Generation if generation in {None, each}]
    return found or [layout for each in generations for layout in layouts(wanted or "", each)] or open_to


def _ranked(items: Sequence[Observed], seen: Sequence[Observed], hints: Hints, lacking: int) -> list[_Ranked]:
    """Every reading that values do not rule out, the best first."""
    # A count that is left out is neither seen nor judged.
    plain: list[Item] = [item.item for item in items]
    found = []
    for each in fit_alone(plain, _layouts(hints)):
        judged = _without_head(each, lacking)
        if len(judged.assigned) != len(seen) or contradicts(judged, seen) or not _has_slots(each):
            continue
        found.append(_Ranked(each, _rank(each, judged, seen, hints)))
    return sorted(found, key=lambda ranked: ranked.rank)


def _has_slots(fit: Fit) -> bool:
    return any(isinstance(a.kind, SlotKind) for a in fit.assigned)


def _rank(fit: Fit, judged: Fit, seen: Sequence[Observed], hints: Hints) -> tuple[float, ...]:
    flags = fit.settings.flags
    unconfigured = int(hints.config is not None and flags != hints.config.settings.flags)
    named = int(hints.class_name is not None and fit.layout.class_name != hints.class_name)
    return (
        named,
        unconfigured,
        _length(fit) + _DOUBT_BITS * doubts(judged, seen),
        popularity(fit.layout.class_name),
        _unlikely_accumulation(judged, seen),
        len(flags),
        _GENERATIONS.index(fit.layout.generation),
    )


def _comes_again(fit: Fit) -> bool:
    """Whether one slot a variable is only one way to read the list: the same shapes come again and again.

    Twelve variables with one slot each, or four with three of a class that is not known (Lookahead's).
    """
    slots = [a for a in fit.assigned if isinstance(a.kind, SlotKind)]
    shapes = [a.shape for a in slots]
    if len({a.variable for a in slots}) < len(slots) or len(set(shapes)) == 1:
        return False
    for size in range(1, len(shapes) // 2 + 1):
        times = len(shapes) // size
        if not len(shapes) % size and shapes in (
            shapes[:size] * times,
            [each for each in shapes[::times] for _ in range(times)],
        ):
            return True
    return False


def _length(fit: Fit) -> float:
    """How much a reading has to assume, in bits: the shape of each variable, and each setting that is rarely used.

    Where all shapes are the same, another variable assumes nothing, and says nothing.
    """
    variables = {a.variable: a.shape for a in fit.assigned if a.variable is not None}
    shapes = {a.shape for a in fit.assigned if a.variable is not None}
    return len(variables) * log2(max(len(shapes), 1)) + _RARE_BITS * len(fit.settings.flags & _RARE)


def _unlikely_accumulation(fit: Fit, seen: Sequence[Observed]) -> int:
    """Gradient accumulators are emptied by every step, moving averages never are: 1 where a reading says otherwise."""
    held = {
        role: [item for a, item in zip(fit.assigned, seen, strict=True) if getattr(a.kind, "role", None) is role]
        for role in (Role.GRADIENT_ACCUMULATOR, Role.MOVING_AVERAGE)
    }
    averages, accumulators = held[Role.MOVING_AVERAGE], held[Role.GRADIENT_ACCUMULATOR]
    return int((bool(averages) and all_zero(averages)) or (bool(accumulators) and not all_zero(accumulators)))


def _verdict(ranked: Sequence[_Ranked], seen: Sequence[Observed], hints: Hints, lacking: int) -> Verdict:
    best = ranked[0]
    # What assumes more, or is doubted more, is no candidate.
    peers = [each for each in ranked if each.rank[:_PEERS] == best.rank[:_PEERS]]
    names = dict.fromkeys(each.fit.layout.class_name for each in peers)
    own = [each for each in peers if each.fit.layout.class_name == best.fit.layout.class_name]
    generations = dict.fromkeys(each.fit.layout.generation for each in own)
    name = hints.config.class_name if hints.config else best.fit.layout.class_name
    doubted = doubts_of_class(_without_head(best.fit, lacking), seen) > 0
    told = hints.config is not None or not (doubted or _comes_again(best.fit))
    orders = {tuple(a.variable for a in each.fit.assigned) for each in own}
    return Verdict(
        fit=_without_head(best.fit, lacking),
        class_name=name if told else None,
        candidates=() if hints.config else tuple(each for each in names if not told or each != name),
        generations=tuple(generations),
        lacking=lacking,
        order_open=len(orders) > 1,
    )
