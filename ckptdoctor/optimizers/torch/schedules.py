"""Learning-rate schedulers of PyTorch: which class a state is, and which rates follow from it.

A scheduler's state_dict is its `__dict__` without the optimizer and without functions; its own keys tell the class.
Most classes multiply the rate that the group has now, so a lost scheduler is no mere restart: LinearLR climbs past its
target. Source: torch/optim/lr_scheduler.py of 1.0 to 2.15 (`get_lr`, `_get_closed_form_lr`), held against the classes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from math import cos, floor, isfinite, pi

from ckptdoctor.errors import UsageProblem
from ckptdoctor.optimizers.torch.warmups import Warmup
from ckptdoctor.state import SchedulerState

Own = Mapping[str, object]
"""A scheduler's state, or a group's settings."""

FUNCTION = "lr_lambda"
"""Key of a LambdaLR's function beside its state, where an artifact tells it."""
AHEAD = 3
"""How many steps are told."""
MAX_PARTS = 100


class Unknowable(Exception):
    """The state does not tell the rate: a function of the program's, or a metric, sets it."""


class Scheduler:
    """A scheduler that can be stepped.

    Attributes:
        class_name: Its class.
        own: Its state.
        base: The rate of the first group that it starts from.
        group: The first group's settings.
        epoch: `last_epoch`.
        cycle: CosineAnnealingWarmRestarts' place in its cycle, and the cycle's length.
        parts: Those that it is made of.
    """

    def __init__(self, class_name: str, own: Own, base: float, group: Own, epoch: int) -> None:
        self.class_name, self.own, self.base, self.group, self.epoch = class_name, own, base, group, epoch
        self.cycle: tuple[float, float] = (0, 0)
        self.parts: list[Scheduler] = []

    def step(self, rate: float) -> float:
        """The rate after one more step, from the one that is in force.

        Raises:
            Unknowable: The state does not tell it.
        """
        self.epoch += 1
        return _STEPS[self.class_name](self, rate) if self.class_name in _STEPS else _unknown(self, rate)


def class_of(own: Own) -> tuple[str | None, tuple[str, ...]]:
    """The class that keeps such state, and others that keep the same."""
    for name, keys in _OWN:
        if keys <= own.keys():
            return name, ("MultiplicativeLR",) if name == "LambdaLR" else ()
    return None, ()


def build(own: Own, group: Own, *, lost: bool = False, depth: int = 0) -> Scheduler:
    """A scheduler as its state says; with `lost`, as the program builds it anew.

    Raises:
        Unknowable: It is of no class that is known.
    """
    name, _ = class_of(own)
    if name is None or depth > 4:  # noqa: PLR2004
        raise Unknowable
    bases = own.get("base_lrs")
    base = _number(bases[0] if isinstance(bases, (list, tuple)) and bases else group.get("initial_lr", group.get("lr")))
    epoch = 0 if lost else int(_number(own.get("last_epoch", 0)))
    made = Scheduler(name, own, base, group, epoch)
    if name == "CosineAnnealingWarmRestarts":
        made.cycle = (0, _number(own["T_0"])) if lost else (_number(own["T_cur"]), _number(own["T_i"]))
    parts = own.get("_schedulers")
    for part in parts[:MAX_PARTS] if isinstance(parts, (list, tuple)) else ():
        if not isinstance(part, Mapping):
            raise Unknowable
        made.parts.append(build(part, group, lost=lost, depth=depth + 1))
    return made


def at(scheduler: SchedulerState, step: int, settings: Own) -> float | None:
    """The rate of the first group when a scheduler's count is this; None where its state does not tell.

    Args:
        scheduler: As it was read.
        step: The count: most classes go from one rate to the next, so that those that have passed are not known.
        settings: The group's settings.

    Raises:
        UsageProblem: The step is negative.
    """
    if step < 0:
        raise UsageProblem(f"a scheduler has no step {step}: steps are counted from 0")
    if scheduler.last_epoch is None or not scheduler.learning_rates or step < scheduler.last_epoch:
        return None
    steps, now = step - scheduler.last_epoch, scheduler.learning_rates[0]
    if not steps or steps <= len(scheduler.next or ()):
        return (now, *(scheduler.next or ()))[steps]
    own = scheduler.stored
    if not {"last_epoch", "_schedulers"} & own.keys() or "base_values" in own:  # another library's, with other rules
        return None
    found = ahead(own, settings, now, steps=steps)
    return found[-1] if found else None


def ahead(own: Own, group: Own, rate: float, *, lost: bool = False, steps: int = AHEAD) -> tuple[float, ...] | None:
    """The rates of the first group after each of the next steps of the scheduler; None where they cannot be computed.

    Args:
        own: The scheduler's state.
        group: The first group's settings, as they are stored.
        rate: The rate in force.
        lost: As if the scheduler's state were not restored, and the optimizer's were.
        steps: How many.
    """
    try:
        scheduler = build(own, group, lost=lost)
        found = []
        for _ in range(steps):
            rate = scheduler.step(rate)
            found.append(rate)
    except (Unknowable, ArithmeticError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
    return tuple(found) if all(map(isfinite, found)) else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise Unknowable
    return float(value)


def _of(scheduler: Scheduler, name: str) -> float:
    return _number(scheduler.own[name])


# ------------------------------------------------------------------------------------------- from the rate in force


def _step_lr(s: Scheduler, rate: float) -> float:
    return rate * _of(s, "gamma") if s.epoch % int(_of(s, "step_size")) == 0 else rate


def _multi_step(s: Scheduler, rate: float) -> float:
    milestones = s.own["milestones"]
    (counter,) = getattr(milestones, "args", None) or (milestones,)  # how often each stands in the list
    if isinstance(counter, Mapping):
        times = counter.get(s.epoch, counter.get(str(s.epoch), 0))
    elif isinstance(counter, (list, tuple)):
        times = list(counter).count(s.epoch)
    else:
        raise Unknowable
    return rate * _of(s, "gamma") ** int(_number(times))


def _constant(s: Scheduler, rate: float) -> float:
    return rate / _of(s, "factor") if s.epoch == _of(s, "total_iters") else rate


def _linear(s: Scheduler, rate: float) -> float:
    start, end, total = _of(s, "start_factor"), _of(s, "end_factor"), _of(s, "total_iters")
    if s.epoch > total:
        return rate
    return rate * (1 + (end - start) / (total * start + (s.epoch - 1) * (end - start)))


def _exponential(s: Scheduler, rate: float) -> float:
    return rate * _of(s, "gamma")


def _polynomial(s: Scheduler, rate: float) -> float:
    total = _of(s, "total_iters")
    if s.epoch > total:
        return rate
    return float(rate * ((1 - s.epoch / total) / (1 - (s.epoch - 1) / total)) ** _of(s, "power"))


def _cosine(s: Scheduler, rate: float) -> float:
    top, least = _of(s, "T_max"), _of(s, "eta_min")
    if (s.epoch - 1 - top) % (2 * top) == 0:
        return rate + (s.base - least) * (1 - cos(pi / top)) / 2
    return (1 + cos(pi * s.epoch / top)) / (1 + cos(pi * (s.epoch - 1) / top)) * (rate - least) + least


def _swa(s: Scheduler, rate: float) -> float:
    """SWALR: the rate moves to `swa_lr` of the group within `anneal_epochs`."""
    epochs, target = _of(s, "anneal_epochs"), _number(s.group.get("swa_lr"))
    strategy = str(s.own.get("_anneal_strategy") or _method(s.own.get("anneal_func")))  # a method until 2.0
    if not strategy.endswith(("linear", "linear_anneal", "cos", "cosine_anneal")):
        raise Unknowable
    linear = "linear" in strategy

    def part(step: float) -> float:
        done = max(0.0, min(1.0, step / max(1, epochs)))
        return done if linear else (1 - cos(pi * done)) / 2

    step = max(1, s.epoch) if epochs == 0 else s.epoch
    before, now = part(step - 1), part(step)
    start = target if before == 1 else (rate - before * target) / (1 - before)
    return target * now + start * (1 - now)


# --------------------------------------------------------------------------------------------------- from the count


def _restarts(s: Scheduler, _: float) -> float:
    at, length = s.cycle
    at += 1
    if at >= length:
        at, length = at - length, length * _of(s, "T_mult")
    s.cycle = at, length
    least = _of(s, "eta_min")
    return least + (s.base - least) * (1 + cos(pi * at / length)) / 2


def _cyclic(s: Scheduler, _: float) -> float:
    total, ratio = _of(s, "total_size"), _of(s, "step_ratio")
    tops = s.own["max_lrs"]
    top = _number(tops[0]) if isinstance(tops, (list, tuple)) else _number(tops)
    cycle = floor(1 + s.epoch / total)
    at = 1 + s.epoch / total - cycle
    scale = at / ratio if at <= ratio else (at - 1) / (ratio - 1)
    if s.own.get("_scale_fn_custom") is not None:
        raise Unknowable
    mode = s.own["mode"]
    counted = cycle if s.own.get("scale_mode") == "cycle" else s.epoch
    factor = {"triangular": 1.0, "triangular2": 0.5 ** (counted - 1)}.get(str(mode))
    if factor is None:
        factor = _of(s, "gamma") ** counted
    return s.base + (top - s.base) * scale * factor


def _one_cycle(s: Scheduler, _: float) -> float:
    total = _of(s, "total_steps")
    if s.epoch > total:
        raise Unknowable
    linear = str(s.own.get("_anneal_func_type", _method(s.own.get("anneal_func")))).endswith("linear")

    def between(start: str, end: str, done: float) -> float:
        one, other = _number(s.group[start]), _number(s.group[end])
        return (other - one) * done + one if linear else other + (one - other) / 2 * (1 + cos(pi * done))

    phases = s.own.get("_schedule_phases")
    if not isinstance(phases, (list, tuple)):  # torch up to 1.7 had two
        up, down = _of(s, "step_size_up"), _of(s, "step_size_down")
        phases = [
            {"end_step": up, "start_lr": "initial_lr", "end_lr": "max_lr"},
            {"end_step": up + down, "start_lr": "max_lr", "end_lr": "min_lr"},
        ]
    begin = 0.0
    for number, phase in enumerate(phases):
        end = _number(phase["end_step"])
        if s.epoch <= end or number == len(phases) - 1:
            return between(phase["start_lr"], phase["end_lr"], (s.epoch - begin) / (end - begin))
        begin = end
    raise Unknowable


def _method(value: object) -> str:
    """The name of a bound method that a scheduler of torch up to 1.7 kept: the second argument of getattr."""
    args: tuple[object, ...] = getattr(value, "args", ())
    return str(args[1]) if len(args) > 1 else ""


# --------------------------------------------------------------------------------------------------- of several


def _sequential(s: Scheduler, rate: float) -> float:
    milestones = s.own["_milestones"]
    if not isinstance(milestones, (list, tuple)):
        raise Unknowable
    bounds = [_number(each) for each in milestones]
    number = bisect_right(bounds, s.epoch)
    part = s.parts[number]
    if number and bounds[number - 1] == s.epoch:
        return _begun(part, rate)
    return part.step(rate)


def _begun(s: Scheduler, rate: float) -> float:
    """`step(0)`: the first rate of a scheduler that takes over."""
    s.epoch, s.cycle = 0, (0, s.cycle[1])
    if s.class_name == "LinearLR":
        return s.base * _of(s, "start_factor")
    if s.class_name == "ConstantLR":
        return s.base * _of(s, "factor")
    if s.class_name in {"OneCycleLR", "CyclicLR"}:
        return _STEPS[s.class_name](s, rate)
    if s.class_name in {"LambdaLR", "ReduceLROnPlateau", "SequentialLR", "ChainedScheduler"}:
        raise Unknowable
    return s.base


def _lambda(s: Scheduler, _: float) -> float:
    warmup = s.own.get(FUNCTION)
    if not isinstance(warmup, Warmup):
        raise Unknowable
    return s.base * warmup.factor(s.epoch)


def _chained(s: Scheduler, rate: float) -> float:
    for part in s.parts:
        rate = part.step(rate)
    return rate


def _unknown(_: Scheduler, __: float) -> float:
    raise Unknowable


_STEPS: Mapping[str, Callable[[Scheduler, float], float]] = {
    "StepLR": _step_lr,
    "MultiStepLR": _multi_step,
    "ConstantLR": _constant,
    "LinearLR": _linear,
    "ExponentialLR": _exponential,
    "PolynomialLR": _polynomial,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _restarts,
    "OneCycleLR": _one_cycle,
    "CyclicLR": _cyclic,
    "SWALR": _swa,
    "SequentialLR": _sequential,
    "ChainedScheduler": _chained,
    "LambdaLR": _lambda,
}
"""Class → its rate after a step. MultiplicativeLR has a function, and so has LambdaLR; ReduceLROnPlateau a metric."""

_OWN: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (name, frozenset(keys.split()))
    for name, keys in (
        ("SequentialLR", "_schedulers _milestones"),
        ("ChainedScheduler", "_schedulers"),
        ("OneCycleLR", "total_steps cycle_momentum"),
        ("CyclicLR", "max_lrs total_size step_ratio"),
        ("CosineAnnealingWarmRestarts", "T_0 T_mult T_cur"),
        ("CosineAnnealingLR", "T_max eta_min"),
        ("ReduceLROnPlateau", "patience num_bad_epochs"),
        ("LambdaLR", "lr_lambdas"),
        ("LinearLR", "start_factor end_factor"),
        ("PolynomialLR", "total_iters power"),
        ("ConstantLR", "factor total_iters"),
        ("SWALR", "anneal_epochs"),
        ("MultiStepLR", "milestones gamma"),
        ("StepLR", "step_size gamma"),
        ("ExponentialLR", "gamma"),
    )
)
"""Class → keys of its own, those of several first."""
