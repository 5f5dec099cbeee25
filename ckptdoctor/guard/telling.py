"""The message of what is lost: the losses, the findings that explain them, what to do, the code that restores it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.errors import NotResumed
from ckptdoctor.examination import Examination
from ckptdoctor.formats.registry import record
from ckptdoctor.guard.judging import Kind, Loss

_EXPLAINED_BY: Mapping[Kind, tuple[str, ...]] = {
    "fresh": ("L", "S013", "S017", "S001", "S015", "S016", "S003"),
    "missing": ("L", "S017", "S003", "S015", "S016"),
    "count": ("S002", "S005", "L"),
    "changed": ("S016", "L"),
    "exchanged": ("S010",),
    "order": ("S010",),
    "rate": ("S013", "L"),
    "scheduler": ("S013", "L"),
    "number": ("S015",),
    "absent": ("S001", "S013", "S017", "I", "P"),
}
"""Loss → the codes, or their beginnings, of findings that may explain it."""
_USUAL: Mapping[tuple[str, Kind], str] = {
    ("keras", "fresh"): (
        "the usual cause: load_weights before the optimizer had variables, which skips its state (call "
        "model.optimizer.build(model.trainable_variables) before it), or compile() after the loading, which makes "
        "another optimizer"
    ),
    ("keras", "exchanged"): "build the optimizer with the variables in the order in which they were saved",
    ("keras", "order"): (
        "build the optimizer with the variables in the order in which they were saved; the file does not name them, "
        "and is taken to have them in the model's order"
    ),
    ("keras", "rate"): "the usual cause: compile() or an assignment after the loading; learning_rate=False allows it",
    ("torch", "fresh"): (
        "the usual cause: optimizer.load_state_dict was not called, or of an optimizer that was replaced after it"
    ),
    ("torch", "exchanged"): (
        "load_state_dict goes by position and checks no name: give the optimizer its parameters in the order in which "
        "they were saved"
    ),
    ("torch", "order"): (
        "load_state_dict goes by position and checks no name; the file does not name its parameters, and is taken to "
        "have them in the model's order: if the run that saved it had the order of this program, leave model= out"
    ),
    ("torch", "rate"): (
        "the usual cause: a scheduler that was made after optimizer.load_state_dict sets the rate back to its first "
        "(LambdaLR, OneCycleLR): make it before; learning_rate=False allows another rate"
    ),
    ("torch", "scheduler"): (
        "the usual cause: scheduler.load_state_dict was not called: make optimizer and scheduler, then load both"
    ),
}
"""What it comes of, where nothing in the artifact explains it."""
_MOST = 3


def refusal(found: Examination, family: str, losses: Sequence[Loss]) -> NotResumed:
    """The error that says it all."""
    path = found.path
    lines = [f"training would not go on from {path}: {'; '.join(dict.fromkeys(each.text for each in _some(losses)))}"]
    lines.append(f"  it holds {found.summary}")
    explaining = _explaining(found.findings, losses)
    lines += [f"  {each.code}: {each.message}" + (f"; {each.hint}" if each.hint else "") for each in explaining]
    lines += [f"  {each}" for each in _usual(family, losses, explaining)]
    if found.state is not None and record(found.state.format).recipe is not None:
        lines.append(f"  the code that restores it: ckptdoctor recipe {shlex.quote(path)}")
    return NotResumed(
        "\n".join(lines),
        path,
        lost=tuple(each.text for each in losses),
        codes=tuple(each.code for each in explaining),
    )


def _usual(family: str, losses: Sequence[Loss], explaining: Sequence[Finding]) -> list[str]:
    """What it comes of mostly, for losses that no finding explains; of an optimizer that is new, the rest follows."""
    codes = tuple(each.code for each in explaining if each.severity is not Severity.INFO)
    kinds = [each.kind for each in losses if not any(code.startswith(_EXPLAINED_BY[each.kind]) for code in codes)]
    if "fresh" in kinds:
        kinds = ["fresh"]
    told = dict.fromkeys(_USUAL.get((family, each)) for each in kinds)
    return [each for each in told if each is not None]


def _some(losses: Sequence[Loss]) -> list[Loss]:
    """The first of each kind, and as many more as a line takes."""
    first = list({each.kind: each for each in reversed(losses)}.values())[::-1]
    return first[: _MOST + 1]


def _explaining(findings: Sequence[Finding], losses: Sequence[Loss]) -> list[Finding]:
    """The gravest findings that may explain the losses, one a code."""
    wanted = tuple(dict.fromkeys(code for each in losses for code in _EXPLAINED_BY[each.kind]))
    fitting = [each for each in findings if each.code.startswith(wanted) and each.severity is not Severity.INFO]
    # An order that cannot be proven is an aside of most healthy artifacts, and the very point where it is exchanged.
    fitting += [each for each in findings if each.code == "S010" and "S010" in wanted and each not in fitting]
    by_code = {each.code: each for each in sorted(fitting, key=lambda each: each.severity.rank, reverse=True)}
    return sorted(by_code.values(), key=lambda each: each.severity.rank)[:_MOST]
