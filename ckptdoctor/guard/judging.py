"""What a running optimizer lacks of what an artifact holds."""

from collections.abc import Iterator, Sequence
from math import isclose, isfinite
from typing import Literal, NamedTuple

from ckptdoctor.examination import Examination, with_libhdf5
from ckptdoctor.guard.fingerprints import TOLERANCE, Fingerprint, of_tensors, spread
from ckptdoctor.guard.live import Live, fingerprint
from ckptdoctor.guard.wanted import Placed, Wanted
from ckptdoctor.state import OptimizerState
from ckptdoctor.verification.compare import RATE
from ckptdoctor.words import counted, enumerate_some

Kind = Literal["fresh", "count", "missing", "changed", "exchanged", "order", "rate", "scheduler", "number", "absent"]
"""What is lost. `order`: as `exchanged`, but the artifact's own order is assumed, which nothing in it proves."""


class Loss(NamedTuple):
    """Something that is not as the artifact has it.

    Attributes:
        kind: What is lost.
        text: One sentence without its full stop.
    """

    kind: Kind
    text: str


class Judged(NamedTuple):
    """What came of the comparison of one optimizer.

    Attributes:
        losses: What is not as the artifact has it.
        compared: So many slots were compared by value.
    """

    losses: tuple[Loss, ...]
    compared: int


def judge(found: Examination, wanted: Wanted, live: Live, *, slots: int | None, rate: bool) -> Judged:
    """Compares an optimizer with the artifact's.

    Args:
        found: The artifact.
        wanted: Its optimizer.
        live: The running one.
        slots: How many are compared by value; None for all.
        rate: Compare the learning rate.
    """
    losses = list(_counts(wanted.state, live))
    compared = 0
    if not live.sharded:
        there = [each for each in wanted.slots if _place(each, live) is not None]
        gone = [each for each in wanted.slots if _place(each, live) is None]
        if wanted.slots and not live.slots:
            losses.insert(0, Loss("fresh", f"{live.class_name} has no state here, and {_whole(wanted)} there"))
        elif gone:
            some = enumerate_some([_called(each) for each in gone], 3)
            losses.append(Loss("missing", f"{len(gone):,} of {_whole(wanted)} are not here: {some}"))
        chosen = _chosen(there, slots)
        losses += _values(found, chosen, live)
        compared = len(chosen)
    if rate:
        losses += _rates(wanted.state, live)
    return Judged(tuple(losses), compared)


def _whole(wanted: Wanted) -> str:
    return counted(len(wanted.slots), "slot")


def _called(placed: Placed) -> str:
    of = placed.slot.variable or (f"parameter {placed.place}" if placed.place is not None else "a parameter")
    return f"{placed.slot.name} of {of}"


def _counts(state: OptimizerState, live: Live) -> Iterator[Loss]:
    if state.iterations is None or state.iterations == live.iterations:
        return
    if not live.iterations:
        text = f"{live.class_name} has taken no step here, and {state.iterations:,} there"
        yield Loss("fresh", text)
    else:
        yield Loss(
            "count", f"{live.class_name} has taken {live.iterations:,} steps here, and {state.iterations:,} there"
        )


def _place(placed: Placed, live: Live) -> int | None:
    """Where the slot should be in the running program; None where there is none of its kind."""
    for place in (placed.here, placed.place):
        if place is not None and (placed.kind, place) in live.slots:
            return place
    return None


def _chosen(there: Sequence[Placed], most: int | None) -> list[Placed]:
    """Slots to compare: those of variables that have another place here first, then of variables from first to last."""
    telling = [each for each in there if each.slot.tensor.location is not None and each.slot.tensor.size]
    if most is None:
        return telling
    moved = [each for each in telling if each.moved]
    chosen = [moved[at] for at in spread(len(moved), most)]
    own: dict[object, list[Placed]] = {}
    for each in telling:
        if not each.moved:
            own.setdefault(each.slot.variable or each.place, []).append(each)
    variables = list(own.values())
    for turn, at in enumerate(spread(len(variables), max(0, most - len(chosen)))):
        chosen.append(variables[at][turn % len(variables[at])])
    return chosen


def _values(found: Examination, chosen: Sequence[Placed], live: Live) -> Iterator[Loss]:
    asked = []
    for each in chosen:
        place = _place(each, live)
        assert place is not None  # noqa: S101 - those that are not here are not chosen
        asked.append((each, place, live.slots[each.kind, place]))
    theirs = with_libhdf5(of_tensors, tuple((each.slot.tensor, slot.dtype) for each, _, slot in asked), sides=[found])
    for (each, place, slot), their in zip(asked, theirs, strict=True):
        if slot.shape != each.slot.tensor.shape:
            here, there = ("x".join(map(str, shape)) or "a scalar" for shape in (slot.shape, each.slot.tensor.shape))
            yield Loss("changed", f"{_called(each)} is {here} here, and {there} there")
            continue
        own = fingerprint(slot)
        if not own.is_like(their) and not _is_elsewhere(each, place, their, live):
            yield _other(each, place, own, their, live)


def _is_elsewhere(each: Placed, place: int, their: Fingerprint, live: Live) -> bool:
    """Whether a slot that the artifact keeps under a name is here under another number, where nothing tells names.

    `set_state_dict` puts state where its name is, whatever order the program has.
    """
    if each.slot.mapping != "name" or live.variables[place].path:
        return False
    return any(
        fingerprint(slot).is_like(their)
        for (kind, other), slot in live.slots.items()
        if kind == each.kind and other != place and slot.shape == each.slot.tensor.shape
    )


def _other(each: Placed, place: int, own: Fingerprint, their: Fingerprint, live: Live) -> Loss:
    """What it is that another value is there: it may be where the order has it, and the name has not."""
    if each.moved and each.place is not None and place == each.here:
        by_order = live.slots.get((each.kind, each.place))
        if by_order is not None and by_order.shape == each.slot.tensor.shape and fingerprint(by_order).is_like(their):
            owner = live.variables[each.place].path or f"parameter {each.place}"
            kind: Kind = "exchanged" if each.slot.mapping == "name" else "order"
            return Loss(kind, f"{_called(each)} went to {owner}, which has its place here")
    return Loss("changed", f"{_called(each)} has the norm {own.norm:.4g} here, and {their.norm:.4g} there")


def _rates(state: OptimizerState, live: Live) -> Iterator[Loss]:
    for number, (there, here) in enumerate(zip(_stored_rates(state), live.rates, strict=False)):
        if there is None or here is None or isclose(here, there, rel_tol=max(RATE, TOLERANCE)):
            continue
        where = f" of group {number}" if len(live.rates) > 1 else ""
        yield Loss("rate", f"the learning rate{where} is {here:g} here, and {there:g} there")


def _stored_rates(state: OptimizerState) -> list[float | None]:
    if state.groups:
        return [_rate(each.hyperparameters.get("lr")) for each in state.groups]
    if state.schedule is not None:
        return [state.schedule.learning_rate]
    return [_rate(state.hyperparameters.get("learning_rate", state.hyperparameters.get("lr")))]


def _rate(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) else None
