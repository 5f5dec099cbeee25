"""What a lost iteration count means for the next step, in figures: the learning rate, and Adam's first update."""

from collections.abc import Iterator
from math import isclose, isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import OptimizerState, Role

if TYPE_CHECKING:
    from ckptdoctor.diagnosis.scan import Scan

_ADAM = {"Adam": (0.9, 0.999), "AdamW": (0.9, 0.999), "Lamb": (0.9, 0.999), "Adamax": (0.9, 0.0)}
"""Classes that correct their moments by the count, with their default decay rates; Adamax corrects the first only."""

CORRECTED = frozenset({*_ADAM, "Nadam"})
"""Classes that correct their moments by the count."""

_MOMENTS = "what its moments would make of it (root mean square)"


class _Rates(NamedTuple):
    """The learning rate at the next step as it should be, and as it would be; None where it cannot be told."""

    right: float | None
    wrong: float | None


def consequences(
    optimizer: OptimizerState, count: int | None, *, slots_lost: bool = False, scan: "Scan | None" = None
) -> Iterator[str]:
    """What follows if an optimizer's count starts over at 0, a clause each; nothing if nothing does.

    Args:
        optimizer: As the artifact holds it.
        count: Its count, or what it should be; None if nobody knows.
        slots_lost: Its slots are lost, too.
        scan: What its values have shown.
    """
    rates, text = _rates(optimizer, count)
    if text:
        yield text
    if count and optimizer.class_name in _ADAM and dialect(optimizer.generation).counts:
        # TensorFlow 1's Adam corrects by its beta powers, whatever the step.
        update = _fresh(optimizer, count, rates, scan) if slots_lost else _miscorrected(optimizer, count, rates)
        if update:
            yield update


def _rates(optimizer: OptimizerState, count: int | None) -> tuple[_Rates, str]:
    from ckptdoctor.optimizers.keras.schedules import is_known, legacy_decay, length, rate

    schedule = optimizer.schedule
    start = _number(optimizer.hyperparameters.get("learning_rate"))
    if schedule is not None:
        name, config = schedule.class_name.rpartition(">")[2], schedule.config
        wrong = schedule.learning_rate_if_lost
        if wrong is None:
            why = "cannot be computed from its configuration" if is_known(name) else "is a custom schedule"
            return _Rates(None, None), f"{name} {why}: it would restart at step 0, at a rate that is not known here"
        right = None if count is None else rate(name, config, count)
        end = length(name, config)
        of = f" of {end:,}" if end is not None and count is not None and count <= end else ""
    else:
        decay = legacy_decay(optimizer.class_name, optimizer.hyperparameters, count)
        if decay is None:
            return _Rates(start, start), ""
        right, wrong, of = *decay, ""
        name = f"decay {optimizer.hyperparameters['decay']:g}"
    if right is None or count is None:
        return _Rates(
            None, wrong
        ), f"{name} would restart: the next learning rate would be {_figure(wrong)}, as at step 0"
    at = f"{name} at step {count:,}{of}: next learning rate {_figure(right)}"
    if isclose(right, wrong, rel_tol=1e-6):
        late = f" either way, but all that follows would come {count:,} steps late" if count else ""
        return _Rates(right, wrong), f"{at}{late}" if late else ""
    return _Rates(right, wrong), f"{at}; with the count lost {_figure(wrong)}{_compared(wrong, right)}"


def _miscorrected(optimizer: OptimizerState, count: int, rates: _Rates) -> str:
    """The moments are there, but corrected as if they had just begun."""
    from ckptdoctor.optimizers.keras.schedules import lost_count_factor

    factor = lost_count_factor(count, *_betas(optimizer))
    if factor is None:
        return ""
    if rates.right and rates.wrong is not None:
        factor *= rates.wrong / rates.right
    elif optimizer.schedule is not None:
        return ""
    change = _compared(factor, 1.0, "larger", "smaller")
    return f"{optimizer.class_name}'s first update would be{change.lstrip(',')}" if change else ""


def _fresh(optimizer: OptimizerState, count: int, rates: _Rates, scan: "Scan | None") -> str:
    """The moments are gone too: |m| = (1 - b1)|g|, sqrt(v) = sqrt(1 - b2)|g|, whose corrected quotient is 1."""
    from ckptdoctor.optimizers.keras.schedules import bias_correction

    rate = f" {_figure(rates.wrong)}" if rates.wrong else ""
    text = (
        f"a new {optimizer.class_name}'s first update is up to the full learning rate{rate} in every coordinate, "
        "however small its gradient"
    )
    mean, correction = _mean_quotient(optimizer, scan), bias_correction(count, *_betas(optimizer))
    if mean and correction and rates.right and rates.wrong and optimizer.class_name != "Adamax":
        kept = rates.right * correction * mean
        change = _compared(rates.wrong, kept, _MOMENTS, f"less than {_MOMENTS}")
        text += change.replace(",", ":", 1)
    return text


def _betas(optimizer: OptimizerState) -> tuple[float, float]:
    first, second = _ADAM[optimizer.class_name or ""]
    settings = optimizer.hyperparameters
    pair = settings.get("betas")  # PyTorch's name for both
    told = [*pair, None, None] if isinstance(pair, (list, tuple)) else [settings.get("beta_1"), settings.get("beta_2")]
    beta_1, beta_2 = map(_number, told[:2])
    return first if beta_1 is None else beta_1, second if beta_2 is None or not second else beta_2


def _number(value: object) -> float | None:
    """A finite number; None for what a hostile file may hold in place of one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return None


def _mean_quotient(optimizer: OptimizerState, scan: "Scan | None") -> float | None:
    """The root mean square of |m| / sqrt(v) over all of an optimizer's variables; None where it was not measured."""
    sizes = {slot.variable: slot.tensor.size for slot in optimizer.slots if slot.role is Role.FIRST_MOMENT}
    known = [
        (each.figures.mean, sizes[each.variable]) for each in (scan.pairs if scan else ()) if each.variable in sizes
    ]
    total = sum(size for _, size in known)
    mean = sqrt(sum(mean * mean * size for mean, size in known) / total) if total else None
    return mean if mean and isfinite(mean) else None


def _figure(value: float) -> str:
    return f"{value:.3g}"


def _compared(wrong: float, right: float, higher: str = "higher", lower: str = "lower") -> str:
    """`, 41 times higher`; nothing where there is no ratio, or none worth a word."""
    if wrong <= 0 or right <= 0 or isclose(wrong, right, rel_tol=0.02):
        return ""
    ratio = max(wrong / right, right / wrong)
    times = f"{ratio:,.0f}" if ratio >= 9.95 else f"{ratio:.2g}"  # noqa: PLR2004 - from here on two digits before the point
    return f", {times} times {higher if wrong > right else lower}"
