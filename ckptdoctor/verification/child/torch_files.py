"""Files of torch.save, alone or as the parts of a directory: `load_state_dict` on stand-ins, or on a program's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptdoctor.verification.child.attempts import Attempt
from ckptdoctor.verification.child.snapshot import Store
from ckptdoctor.verification.child.torch_loading import CALL, everything, weights_for
from ckptdoctor.verification.child.torch_optimizers import check, stand_in, take
from ckptdoctor.verification.child.torch_programs import (
    Program,
    load_schedulers,
    named_keys,
    require_class,
    saved_for,
    scheduler_counts,
    stand_in_schedulers,
)

_BY_HAND = 'optimizer.load_state_dict(torch.load("optimizer.pt", map_location="cpu", weights_only=True))'


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:  # noqa: ARG001 - as every kind's
    """With the program's model and optimizer; without, over stand-in parameters of the artifact's shapes."""
    if request["script"] is not None:
        call = f"saved = {CALL}, then load_state_dict of the program's model and optimizer"
        yield Attempt("torch-into-program", call, lambda: _into_program(request))
        return
    if request["lacking"]:
        yield Attempt("torch-trainer", "trainer.train(resume_from_checkpoint=path)", lambda: _untouched(request))
        yield Attempt("torch-by-hand", f"{_BY_HAND} on the trainer's own", lambda: _stood_in(request))
        return
    call = f"optimizer.load_state_dict of what {CALL} gives, over stand-in parameters"
    yield Attempt(request["kind"], call, lambda: _stood_in(request))


def _stood_in(request: dict[str, Any]) -> list[dict[str, Any]]:
    tree = everything(request)
    store = Store(request)
    taken = []
    for wanted in request["optimizers"]:
        saved = saved_for(tree, wanted)
        optimizer = stand_in(wanted)
        schedulers = stand_in_schedulers(optimizer, wanted["schedulers"])
        optimizer.load_state_dict(saved)
        counts = load_schedulers(schedulers, tree)
        taken.append(take(optimizer, named_keys(optimizer, saved), store, schedulers=counts))
        check(optimizer)
    return taken


def _untouched(request: dict[str, Any]) -> list[dict[str, Any]]:
    """What a resumed program has where its trainer loads nothing: new optimizers and schedulers."""
    tree = everything(request)
    store = Store(request)
    taken = []
    for wanted in request["optimizers"]:
        optimizer = stand_in(wanted)
        counts = scheduler_counts(stand_in_schedulers(optimizer, wanted["schedulers"]))
        taken.append(take(optimizer, named_keys(optimizer, saved_for(tree, wanted)), store, schedulers=counts))
    return taken


def _into_program(request: dict[str, Any]) -> list[dict[str, Any]]:
    tree = everything(request)
    program = Program(request["script"])
    weights = weights_for(tree, program.model) if request["weights"] else None
    if weights is not None:
        program.model.load_state_dict(weights)
    store = Store(request)
    taken = []
    left = list(program.schedulers)
    for wanted in request["optimizers"]:
        saved = saved_for(tree, wanted)
        optimizer = program.optimizer(wanted)
        schedulers = {each["name"]: left.pop(0) for each in wanted["schedulers"] if left}
        optimizer.load_state_dict(saved)
        counts = load_schedulers(schedulers, tree)
        keys = named_keys(optimizer, saved)
        taken.append(take(optimizer, keys, store, program.names, schedulers=counts))
        require_class(optimizer, wanted)
        check(optimizer)
    return taken
