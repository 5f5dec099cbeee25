"""E: what the policy asks of an artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ckptdoctor.diagnosis.evidence import Evidence, Rule
from ckptdoctor.diagnosis.expected import Expected, Part
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import graft_from
from ckptdoctor.diagnosis.status import keeps_slots, title
from ckptdoctor.state import OptimizerState
from ckptdoctor.words import enumerate_some

_Find = Callable[[Evidence], Iterator[tuple[str, str]]]


def _of_each(find: _Find) -> _Find:
    """The rule over all optimizers, but for those that the policy speaks of by name: over each of them alone."""

    def found(evidence: Evidence) -> Iterator[tuple[str, str]]:
        state, expected = evidence.state, evidence.expected
        if state is None or expected is None or not expected.named:
            yield from find(evidence)
            return
        others = tuple(each for each in evidence.optimizers if each.name not in expected.named)
        general = expected._replace(named={})
        if not others:  # what remains is asked of the model
            general = Expected(tuple(each for each in expected.require if each is Part.WEIGHTS))
        yield from find(evidence._replace(state=state._replace(optimizers=others), expected=general))
        for name, own in expected.named.items():
            one = tuple(each for each in state.optimizers if each.name == name)
            if one:
                asked = expected._replace(named={}, **own)  # type: ignore[arg-type]  # checked when it was read
                alone = evidence._replace(state=state._replace(optimizers=one), expected=asked)
                yield from ((f"{name}: {message}", hint) for message, hint in find(alone))

    return found


def _requirement_unmet(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from _of_each(_part_missing)(evidence)
    there = {each.name for each in evidence.state.optimizers} if evidence.state is not None else set()
    for name in evidence.expected.named if evidence.state is not None and evidence.expected is not None else ():
        if name not in there:
            known = f"it has {enumerate_some(sorted(there), 8)}" if there else "it has none"
            yield f"the policy asks for an optimizer {name!r}, but {known}", ""


def _part_missing(evidence: Evidence) -> Iterator[tuple[str, str]]:
    if evidence.state is None or evidence.expected is None:
        return
    for part in evidence.expected.require:
        lack = _LACKS[part](evidence)
        if lack:
            hint = "" if part is Part.WEIGHTS else f"put it back: {graft_from('DONOR', evidence)}"
            yield f"{part.value} are required, but {lack}", hint


def _lacks_iterations(evidence: Evidence) -> str:
    without = [title(each) for each in evidence.optimizers if each.iterations is None]
    if not evidence.optimizers:
        return "no optimizer is in it"
    return f"{enumerate_some(without)} has no count" if without else ""


def _lacks_slots(evidence: Evidence) -> str:
    if not evidence.optimizers:
        return "no optimizer is in it"
    for each in evidence.optimizers:
        if each.missing:
            return f"{title(each)} lacks some of them"
        if not each.slots and (keeps_slots(each) or not each.has_state):
            return f"{title(each)} has none"
    return ""


def _lacks_hyperparameters(evidence: Evidence) -> str:
    without = [title(each) for each in evidence.optimizers if not each.hyperparameters]
    if not evidence.optimizers:
        return "no optimizer is in it"
    return f"none of {enumerate_some(without)} are stored or configured" if without else ""


def _lacks_weights(evidence: Evidence) -> str:
    return "" if any(each.tensor.place is not None for each in evidence.variables) else "no model variable is in it"


_LACKS = {
    Part.ITERATIONS: _lacks_iterations,
    Part.SLOTS: _lacks_slots,
    Part.HYPERPARAMETERS: _lacks_hyperparameters,
    Part.WEIGHTS: _lacks_weights,
}


def _too_few_iterations(evidence: Evidence) -> Iterator[tuple[str, str]]:
    least = evidence.expected.min_iterations if evidence.expected is not None else None
    if evidence.state is None or least is None:
        return
    if not any(each.iterations is not None for each in evidence.optimizers):
        yield f"at least {least:,} iterations are expected, but no count is in it", ""
    for each in evidence.optimizers:
        if each.iterations is not None and each.iterations < least:
            yield f"{title(each)} is at iteration {each.iterations:,}; at least {least:,} are expected", ""


def _other_optimizer(evidence: Evidence) -> Iterator[tuple[str, str]]:
    wanted = evidence.expected.optimizer if evidence.expected is not None else None
    if evidence.state is None or wanted is None:
        return
    if not evidence.optimizers:
        yield f"{wanted} is expected, but no optimizer is in it", ""
    for each in evidence.optimizers:
        if not _is_of(each, wanted):
            inferred = " (inferred from its slots)" if each.class_inferred else ""
            held = title(each) if each.class_name else "an optimizer of unknown class"
            yield f"{wanted} is expected, but it is {held}{inferred}", ""


def _is_of(optimizer: OptimizerState, wanted: str) -> bool:
    names = {optimizer.class_name, *optimizer.class_candidates}
    return wanted.lower() in {name.lower() for name in names if name}


RULES: tuple[Rule, ...] = (
    Rule("E001", "requirement-unmet", Severity.ERROR, "a part that the policy requires is missing", _requirement_unmet),
    Rule(
        "E002",
        "too-few-iterations",
        Severity.ERROR,
        "the count is below the policy's least",
        _of_each(_too_few_iterations),
    ),
    Rule(
        "E003",
        "other-optimizer",
        Severity.ERROR,
        "the optimizer is not of the policy's class",
        _of_each(_other_optimizer),
    ),
)
