"""X: what would run, or read other files, if somebody loaded the artifact."""

from __future__ import annotations

from ckptdoctor.diagnosis.evidence import Evidence, Rule, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import repair_of
from ckptdoctor.formats.registry import record

_OF_TORCH = " torch."
"""What the name of a module or an optimizer of torch begins with."""


def _as_data(evidence: Evidence) -> str:
    """Classes of a program's own can be made data; modules of torch that were pickled whole are more than that."""
    trusted = "if you trust its source, allow them with torch.serialization.add_safe_globals([...])"
    kind = record(evidence.state.format) if evidence.state is not None else None
    whole = any(_OF_TORCH in each.message for each in evidence.oddities if each.code == "X005")
    if kind is None or kind.noun != "file" or kind.write is None or whole:
        return f"{trusted}, or load it with weights_only=False and save the state_dict again"
    return f"{trusted}; or make data of them: {repair_of(evidence, 'foreign-imports')}"


RULES: tuple[Rule, ...] = (
    Rule(
        "X001",
        "code-inside",
        Severity.WARNING,
        "Python code that would run when somebody loads it",
        noticed("X001", "load it only if you trust its source; rewrite Lambda layers as registered layers"),
    ),
    Rule(
        "X002",
        "reads-other-files",
        Severity.ERROR,
        "HDF5 links, external storage or virtual data sets that read other files",
        noticed("X002", "do not load it; `ckptdoctor explain X002` has a way to copy what is its own"),
    ),
    Rule(
        "X003",
        "pickle-imports",
        Severity.ERROR,
        "a pickle that names anything but arrays",
        noticed("X003", "do not unpickle it; save arrays with numpy.savez instead"),
    ),
    Rule(
        "X004",
        "archive-tricks",
        Severity.ERROR,
        "escaping or duplicate member names, encrypted flags, bombs",
        noticed("X004", "do not unpack or load it; save the model again from its source"),
    ),
    Rule(
        "X005",
        "unsafe-imports",
        Severity.WARNING,
        "names beyond tensors, which torch.load refuses by default",
        noticed("X005", _as_data),
    ),
    Rule(
        "X006",
        "path-inside",
        Severity.INFO,
        "an absolute path of the machine that saved it",
        noticed("X006"),
    ),
)
