"""The guard itself: a program's optimizers beside an artifact's, and an error where they differ."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ckptdoctor.diagnosis.status import optimizer_status
from ckptdoctor.errors import UsageProblem
from ckptdoctor.examination import Examination
from ckptdoctor.guard import of_keras, of_torch, schedulers
from ckptdoctor.guard.judging import Loss, judge
from ckptdoctor.guard.live import Live
from ckptdoctor.guard.telling import refusal
from ckptdoctor.guard.wanted import read_artifact, wanted
from ckptdoctor.isolation.client import stop
from ckptdoctor.matching.sides import choose
from ckptdoctor.state import OptimizerState, Status, TrainingState
from ckptdoctor.verification.pytorch import is_of_torch
from ckptdoctor.words import counted


class Allowed(NamedTuple):
    """How strict a guard is.

    Attributes:
        slots: So many slots of each optimizer are compared by value; None for all.
        learning_rate: Whether rates are compared.
        fresh: Whether an artifact without optimizer state passes.
        order: Whether an order that nothing proves is an error; else a warning.
    """

    slots: int | None = 8
    learning_rate: bool = True
    fresh: bool = False
    order: bool = True


class Guarding:
    """What the callbacks of all trainers are made with; stands before the trainer's own callback class.

    Args:
        path: The artifact that training goes on from.
        slots: So many slots of each optimizer are compared by value; None for all.
        learning_rate: Compare it too.
        allow_fresh: Let an artifact without optimizer state pass.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        slots: int | None = 8,
        learning_rate: bool = True,
        allow_fresh: bool = False,
    ) -> None:
        super().__init__()
        self.path = path
        self._allowed = Allowed(slots, learning_rate, allow_fresh, order=False)


class ResumeWarning(UserWarning):
    """Training may not go on where its checkpoint stopped, which nothing in the checkpoint can prove."""


class Resumed(NamedTuple):
    """What a guard compared, and found as the artifact has it.

    Attributes:
        path: The artifact.
        iterations: The count of each optimizer; None of one that keeps none.
        slots: So many slots were compared by value.
    """

    path: str
    iterations: tuple[int | None, ...]
    slots: int


def compare(
    live: Any,
    path: str | os.PathLike[str],
    allowed: Allowed,
    *,
    model: Any = None,
    scheduler: Any = None,
    steps: tuple[str, int] | None = None,
) -> Resumed:
    """Compares optimizers with those of an artifact; arguments and errors are those of `assert_resumed`.

    Args:
        live: The optimizers.
        path: The artifact.
        allowed: How strict.
        model: What they train.
        scheduler: Their schedulers.
        steps: What a trainer counts by itself: name of the counter, and its value.
    """
    if allowed.slots is not None and allowed.slots < 0:
        raise UsageProblem(f"slots is {allowed.slots}: give how many are compared, 0 for none or None for all")
    try:
        return _compared(live, path, allowed, model=model, scheduler=scheduler, steps=steps)
    finally:
        stop()  # the process that reads HDF5 is not wanted again, and training may last for weeks


def _compared(
    live: Any,
    path: str | os.PathLike[str],
    allowed: Allowed,
    *,
    model: Any,
    scheduler: Any,
    steps: tuple[str, int] | None,
) -> Resumed:
    several = _several(live)
    read = [_read(each, _model_of(model, name, each)) for name, each in several.items()]
    found = read_artifact(path)
    state = found.state
    assert state is not None  # noqa: S101 - what has no error was read
    _require_family(state, read[0], found.path)
    held = [each for each in state.optimizers if optimizer_status(each) is not Status.ABSENT]
    if not held:
        if allowed.fresh:
            return Resumed(found.path, (), 0)
        says = "it holds no optimizer state, so that training begins anew (allow_fresh=True lets it)"
        raise refusal(found, read[0].family, [Loss("absent", says)])
    pairs = _paired(state, held, several, read)
    losses: list[Loss] = []
    compared = 0
    if len(pairs) < len(read):
        there, here = counted(len(held), "optimizer"), len(read)
        losses.append(Loss("number", f"{here} optimizers are here, and the state of {there} there"))
    for optimizer, own in pairs:
        beside = wanted(found, optimizer, own)
        judged = judge(found, beside, own, slots=allowed.slots, rate=allowed.learning_rate)
        compared += judged.compared
        losses += judged.losses
    losses += schedulers.judge(state, pairs, scheduler)
    losses += _counted(state, steps)
    _refuse(found, read[0].family, losses, allowed)
    return Resumed(found.path, tuple(optimizer.iterations for optimizer, _ in pairs), compared)


def _refuse(found: Examination, family: str, losses: Sequence[Loss], allowed: Allowed) -> None:
    certain = [each for each in losses if allowed.order or each.kind != "order"]
    if certain:
        raise refusal(found, family, certain)
    if losses:
        warnings.warn(str(refusal(found, family, losses)), ResumeWarning, stacklevel=4)


def _several(live: Any) -> dict[str | int, Any]:
    """Optimizers by the artifact's names, or by their order."""
    if isinstance(live, Mapping) and not of_torch.is_optimizer(live):
        given: dict[str | int, Any] = {str(name): each for name, each in live.items()}
    elif isinstance(live, (list, tuple)):
        given = dict(enumerate(live))
    else:
        given = {0: live}
    if not given:
        raise UsageProblem("no optimizer is given to be compared")
    return given


def _model_of(model: Any, name: str | int, live: Any) -> Any:
    """The model of one of several optimizers; PyTorch's are told all, whose parameters tell whose they are."""
    if of_torch.is_optimizer(live):
        return model
    if isinstance(model, Mapping):
        return model.get(name)
    if isinstance(model, (list, tuple)):
        return model[name] if isinstance(name, int) and name < len(model) else None
    return model


def _read(live: Any, model: Any) -> Live:
    if of_torch.is_optimizer(live):
        if model is not None and not (hasattr(model, "named_parameters") or isinstance(model, Mapping)):
            raise UsageProblem(f"model= is {type(model).__name__}: give the module that the optimizer trains")
        return of_torch.read(live, model)
    if of_keras.is_of_keras(live):
        return of_keras.read(live, model)
    kind = type(live).__name__
    raise UsageProblem(f"{kind} is no optimizer: give one of Keras or PyTorch, or a compiled Keras model")


def _require_family(state: TrainingState, live: Live, path: str) -> None:
    if not state.optimizers or is_of_torch(state) == (live.family == "torch"):
        return
    whose = "PyTorch" if is_of_torch(state) else "another framework"
    raise UsageProblem(
        f"{path} holds an optimizer of {whose}, which {live.class_name} here cannot be compared with", path
    )


def _paired(
    state: TrainingState, held: Sequence[OptimizerState], several: Mapping[str | int, Any], read: Sequence[Live]
) -> list[tuple[OptimizerState, Live]]:
    """Each optimizer of the artifact with the running one."""
    if all(isinstance(each, str) for each in several):
        named = [choose(state, str(name), state.path) for name in several]
        return [(each, own) for each, own in zip(named, read, strict=True) if each is not None]
    if len(read) == 1 and len(held) > 1:
        names = ", ".join(repr(each.name) for each in held)
        raise UsageProblem(f"{state.path} has {len(held)} optimizers: name yours, as {{name: optimizer}}, of {names}")
    return list(zip(held if len(read) != len(state.optimizers) else state.optimizers, read, strict=False))


def _counted(state: TrainingState, steps: tuple[str, int] | None) -> list[Loss]:
    """What a trainer counts beside the optimizers."""
    if steps is None or steps[0] not in state.counters or state.counters[steps[0]] == steps[1]:
        return []
    there = state.counters[steps[0]]
    return [Loss("count", f"the trainer's {steps[0]} is {steps[1]:,} here, and {there:,} there")]
