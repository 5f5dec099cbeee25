"""Proof by the real framework: it loads an artifact in a child process, and what it then holds is compared.

Nothing here imports a framework; `verify.child` does, under an interpreter of the user's choice.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ckptdoctor.diagnosis.families.loading import statement
from ckptdoctor.diagnosis.loader_table import observed
from ckptdoctor.diagnosis.loaders import Loader
from ckptdoctor.diagnosis.mending import graft_from
from ckptdoctor.errors import UsageProblem
from ckptdoctor.examination import Examination, examine
from ckptdoctor.state import Status, TrainingState
from ckptdoctor.verification import chains, compare, process, pytorch
from ckptdoctor.verification.code import REFUSAL, carries_code, model_carries_code
from ckptdoctor.verification.process import TIMEOUT, ChildFailed
from ckptdoctor.verification.request import NotVerifiable, Prepared, Wanted, prepare
from ckptdoctor.verification.results import Attempt, OptimizerResult, Outcome, Restored, SlotResult, Verification
from ckptdoctor.workplace import at_hand

__all__ = ["Attempt", "OptimizerResult", "Outcome", "Restored", "SlotResult", "Verification", "verify"]

_NEEDS_CODE = re.compile("register_keras_serializable|custom_object|Unknown (loss|metric)")
"""How frameworks say that they were not given the user's own classes and functions."""

_POSITION = (
    "the file keeps slots by position only: which of several variables of one shape they belong to is assumed by the "
    "framework and here alike"
)

_WITHOUT_TARGET = (
    "restored without a target: whether the program's own chain takes it, only --model-script FILE.py:FUNCTION tells, "
    "whose function answers with the tree to restore into"
)


@at_hand("path", "model")
def verify(
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    script: str | None = None,
    python: str | None = None,
    timeout: float = TIMEOUT,
) -> Verification:
    """Loads an artifact with the installed framework and compares what it then holds with what the artifact holds.

    Args:
        path: A file, a SavedModel directory, a checkpoint prefix, or a directory (then its latest artifact).
        model: For weights without a model: a `.keras`, `.h5` or JSON file of the same architecture.
        script: `FILE.py:FUNCTION`: code of the user's that is run, and answers with the model (for PyTorch with the
            optimizer and scheduler too), or a JAX program's tree.
        python: The interpreter whose framework is asked; None for the running one.
        timeout: Seconds that the framework may take.

    Raises:
        UsageProblem: Nothing is at this path, or the framework is not installed.
        UnreadableArtifact: It cannot be read.
    """
    found = list(examine(path))
    if not found:
        raise UsageProblem("nothing is here that a framework could load", path)
    return verify_examined(found[0], model=model, script=script, python=python, timeout=timeout)


def verify_examined(
    examination: Examination,
    *,
    model: str | os.PathLike[str] | None = None,
    script: str | None = None,
    python: str | None = None,
    timeout: float = TIMEOUT,
) -> Verification:
    """The same for an artifact that was examined already."""
    state = examination.state
    if state is None:
        assert examination.error is not None  # noqa: S101 - what has no state has an error
        raise examination.error
    if model is not None and not os.path.exists(model):
        raise UsageProblem("there is no such file for --model", model)
    if script is not None and not os.path.isfile(script.rpartition(":")[0]):
        raise UsageProblem("--model-script takes FILE.py:FUNCTION, and there is no such file", script)
    if carries_code(state, examination.resolved) or (model is not None and model_carries_code(os.fspath(model))):
        return _failed(examination, REFUSAL)
    if not any(each.has_state for each in state.optimizers):
        lost = next((each.message for each in state.oddities if each.code == "S013"), None)
        return Verification(examination.path, state.format) if lost is None else _failed(examination, lost)
    by_torch = pytorch.is_of_torch(state)
    with process.workspace() as folder:
        try:
            given = None if model is None else os.fspath(model)
            put = pytorch.prepare if by_torch else prepare
            prepared = put(examination, state, model=given, script=script, folder=folder)
        except NotVerifiable as reason:
            return _failed(examination, str(reason))
        try:
            reply, attempts = _asked(prepared, folder, python=python, timeout=timeout)
        except ChildFailed as failure:
            return _failed(examination, str(failure))
    attempts, notes = _judged(attempts)
    if by_torch:
        notes = pytorch.notes(prepared, attempts[0])
    elif any(_by_position(each) for each in prepared.wanted):
        notes = (*notes, _POSITION)
    if prepared.request["kind"] == chains.KIND and script is None:
        notes = (*notes, _WITHOUT_TARGET)
    if examination.status is Status.PARTIAL:
        notes = (*notes, "the artifact itself is incomplete: see ckptdoctor inspect")
    loader = _loader(str(reply["framework"]), str(reply["version"]))
    return Verification(
        examination.path,
        state.format,
        framework=str(reply["framework"]),
        version=str(reply["version"]),
        attempts=attempts,
        advice=pytorch.advice(prepared, attempts) if by_torch else _advice(attempts, state, loader, examination.path),
        notes=notes,
    )


def _by_position(wanted: Wanted) -> bool:
    """Whether slots of equal shape belong to their variables by position only."""
    kinds = [(each.slot.name, each.slot.tensor.shape) for each in wanted.slots if each.slot.mapping != "name"]
    return len(set(kinds)) < len(kinds)


def _asked(
    prepared: Prepared, folder: str, *, python: str | None, timeout: float
) -> tuple[dict[str, Any], tuple[Attempt, ...]]:
    """Asks until a call restores everything or the framework knows no other.

    The child stops where it finds every value; that each is at its place, the comparison knows better.
    """
    attempts: tuple[Attempt, ...] = ()
    while True:
        reply = process.ask(dict(prepared.request, start=len(attempts)), folder, python=python, timeout=timeout)
        more = tuple(compare.attempt(each, prepared.wanted, folder) for each in reply["attempts"])
        attempts += more
        if not reply["stopped"] or not more or more[-1].ok:
            return reply, attempts


def _failed(examination: Examination, why: str) -> Verification:
    return Verification(examination.path, examination.format, attempts=(Attempt("none", "", error=why),))


def _judged(attempts: tuple[Attempt, ...]) -> tuple[tuple[Attempt, ...], tuple[str, ...]]:
    """Puts first what the verdict is about.

    Where `load_model` fails because it needs the user's own code (a custom loss), and the model itself does not, then
    loading it with compile=False is the nearest to what users do.
    """
    if len(attempts) > 1 and attempts[0].error is not None and _NEEDS_CODE.search(attempts[0].error):
        retry = attempts[1]
        if retry.error is None:
            note = f"load_model(path) alone needs code that is not run here: {attempts[0].error}"
            return (retry, attempts[0], *attempts[2:]), (note,)
    return attempts, ()


def _loader(framework: str, version: str) -> Loader:
    return Loader(framework if framework in {"keras", "tf_keras"} else "tensorflow", version)


def _advice(attempts: tuple[Attempt, ...], state: TrainingState, loader: Loader, path: str) -> tuple[str, ...]:
    """What restores the state where the usual call does not."""
    usual = attempts[0]
    if usual.ok:
        return ()
    restoring = next((each for each in attempts if each.ok), None)
    fact = observed(state, loader, usual.key, by=restoring.key if restoring else None)
    found = []
    if fact is not None and usual.error is None:
        found.append(statement(fact, loader))
    if restoring is not None:
        proven = fact.instead if fact is not None and fact.instead is not None else None
        instead = proven.text if proven is not None and proven.attempt == restoring.key else restoring.call
        found.append(f"this restores all of it (tried): {instead}")
        if fact is not None and fact.graft is not None and not fact.graft.generation:
            found.append(f"or write it into what loads as it is: {graft_from(path, fact.graft.into)}")
    elif usual.key != "none":
        found.append("no call was found that restores all of it; ckptdoctor graft can write it into a target that fits")
    if usual.error is not None and _NEEDS_CODE.search(usual.error):
        found.append("code in a model is never run here: load it in your own script with custom_objects")
    return tuple(found)
