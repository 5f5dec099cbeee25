"""X: what would run, or read other files, if somebody loaded the artifact."""

from __future__ import annotations

from ckptdoctor.diagnosis.evidence import Evidence, Rule, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import repair_of


def _as_data(evidence: Evidence) -> str:
    trusted = "if you trust its source, allow them with torch.serialization.add_safe_globals([...])"
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
