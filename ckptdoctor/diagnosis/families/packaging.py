"""P: how an artifact lies among other files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from ckptdoctor.containers.tensors.dtypes import total_nbytes
from ckptdoctor.diagnosis.evidence import Evidence, Rule, is_noticed, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import repair_beside, strip_of
from ckptdoctor.diagnosis.names import misnamed
from ckptdoctor.formats.registry import record
from ckptdoctor.words import enumerate_some

_SHOWN = 8


def _state_file_astray(evidence: Evidence) -> Iterator[tuple[str, str]]:
    run = evidence.run
    if run is None and not is_noticed(evidence, "P001"):
        return  # the usual case, without putting a command together
    name = run.members[-1].name if run is not None and run.members else os.path.basename(evidence.path)
    line = f"model_checkpoint_path: {json.dumps(name, ensure_ascii=False)}"
    mending = repair_beside(evidence)
    hint = f"write the file `checkpoint` beside it ({line}): {mending}; or name the checkpoint that is meant"
    yield from noticed("P001", hint)(evidence)
    yield from ((each.message, hint) for each in (run.oddities if run is not None else ()))
    if run is not None and run.astray:
        there = [each.name for each in run.members]
        here = f"here: {enumerate_some(there[-_SHOWN:], _SHOWN)}" if there else "nothing else is here"
        yield f"the state file lists {enumerate_some(run.astray)}, which is not here; {here}", hint


def _optimizer_share(evidence: Evidence) -> Iterator[tuple[str, str]]:
    own = total_nbytes(slot.tensor for each in evidence.optimizers for slot in each.slots)
    own += total_nbytes(other.tensor for each in evidence.optimizers for other in each.other)
    if not own:
        return
    model = total_nbytes(each.tensor for each in evidence.variables if each.tensor.place is not None)
    share = 100 * own / (own + model)
    yield f"{share:.0f} % of the bytes are optimizer state ({own:,} of {own + model:,})", strip_of(evidence)


def _extension_lies(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("P004")(evidence)
    state = evidence.state
    lie = None if state is None else misnamed(evidence.path, state.format)
    if state is None or lie is None:
        return
    kind = record(state.format)
    yield (
        f"{lie[0]} promises {lie[1]}, but the bytes are {kind.called}",
        f"loaders choose by the name: rename it to end in {kind.rename_to}",
    )


def _latest_is_older(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("P005", "give every run a directory of its own; move the old run's steps away")(evidence)
    run = evidence.run
    latest = run.member(run.latest) if run is not None else None
    if run is None or latest is None or latest.iterations is None:
        return
    ahead = [
        (each.iterations, each)
        for each in run.families[latest.family]
        if each.iterations is not None and each.iterations > latest.iterations
    ]
    if ahead:
        steps, best = max(ahead, key=lambda pair: pair[0])
        yield (
            f"the state file's latest is {latest.name} at iteration {latest.iterations:,}; {best.name} is at {steps:,}",
            f"resume from {best.path}, or remove it if the run was rolled back on purpose",
        )


RULES: tuple[Rule, ...] = (
    Rule(
        "P001", "state-file-astray", Severity.ERROR, "the `checkpoint` file names what is not here", _state_file_astray
    ),
    Rule("P002", "optimizer-share", Severity.INFO, "how much of the bytes is optimizer state", _optimizer_share),
    Rule(
        "P003",
        "part-of-checkpoint",
        Severity.INFO,
        "the path is one file of a checkpoint; its prefix",
        noticed("P003"),
    ),
    Rule(
        "P004",
        "extension-lies",
        Severity.WARNING,
        "the bytes are another format than the name says",
        _extension_lies,
    ),
    Rule(
        "P005",
        "latest-is-older",
        Severity.WARNING,
        "what is taken for the latest is behind another checkpoint beside it",
        _latest_is_older,
    ),
    Rule(
        "P006",
        "newest-of-several",
        Severity.INFO,
        "a directory of several artifacts: which one was read",
        noticed("P006", "name the one that is meant"),
    ),
)
