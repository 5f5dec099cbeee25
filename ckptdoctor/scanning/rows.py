"""One artifact as a row of a table: what can be asked of ten million of them afterwards."""

import os
from time import monotonic
from typing import Any, NamedTuple

from ckptdoctor import storage
from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked
from ckptdoctor.checking.run import check_target
from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.errors import EXIT_UNREADABLE, CkptDoctorError, Unreachable, UnreadableArtifact
from ckptdoctor.examination import Examination, unreadable
from ckptdoctor.formats.directories import lies_at


class Row(NamedTuple):
    """What is known of one artifact.

    Attributes:
        path: Where it is.
        run: The directory that it lies in: checkpoints of one run have it in common.
        format: As the contract names it; `unknown`.
        framework: What wrote it; None if nothing tells.
        framework_version: Of that.
        status: `complete`, `partial`, `weights-only` and so on, as `inspect` says.
        verdict: One sentence.
        passed: Whether the policy lets it pass.
        severity: Of its gravest finding: `error`, `warning`, `info`, or None.
        findings: Codes, each once.
        optimizers: Their classes.
        iterations: The count of the first.
        counts: The counts of all.
        slots: Slot variables that are there.
        missing: Slot variables that are not.
        bytes: Of its files, as far as their sizes are known.
        optimizer_bytes: Of its slots.
        modified: When it was written, seconds since 1970; 0 if unknown.
        read_requests: Requests that reading it took; 0 on this machine.
        read_bytes: Bytes that came.
        seconds: That it took.
        error: Why it cannot be read; None if it can.
        unreachable: Whether that says nothing of it: no answer could be had, or what read it died. It is judged again
            when a scan goes on.
    """

    path: str
    run: str
    format: str = "unknown"
    framework: str | None = None
    framework_version: str | None = None
    status: str = "unreadable"
    verdict: str = ""
    passed: bool = False
    severity: str | None = None
    findings: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ()
    iterations: int | None = None
    counts: tuple[int, ...] = ()
    slots: int = 0
    missing: int = 0
    bytes: int = 0
    optimizer_bytes: int = 0
    modified: float = 0.0
    read_requests: int = 0
    read_bytes: int = 0
    seconds: float = 0.0
    error: str | None = None
    unreachable: bool = False


_GRAVITY = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def row_of(candidate: str, policy: Policy) -> Row | None:
    """Judges what a candidate is; None where it is no artifact. Whatever is wrong with it is in the row."""
    before, began = _traffic(candidate), monotonic()
    try:
        checked = _checked(candidate, policy)
        found = None if checked is None else _row(checked, candidate)
    except (MemoryError, RecursionError) as error:
        found = failed(candidate, f"reading it needs more than there is ({type(error).__name__}): corrupt or hostile")
    if found is None:
        return None
    requests, nbytes = _traffic(candidate)
    return found._replace(
        read_requests=requests - before[0], read_bytes=nbytes - before[1], seconds=round(monotonic() - began, 6)
    )


def _traffic(candidate: str) -> tuple[int, int]:
    return storage.traffic() if storage.is_remote(candidate) else (0, 0)


def failed(candidate: str, why: str) -> Row:
    """The row of what nothing can be said of."""
    path = candidate.removesuffix(".index")
    return Row(
        path, os.path.dirname(path), verdict=why, severity=Severity.ERROR.value, findings=("I001",), error=why,
        unreachable=True,
    )  # fmt: skip


def _checked(candidate: str, policy: Policy) -> Checked | None:
    try:
        target = lies_at(candidate)
        return None if target is None else check_target(target, policy)
    except UnreadableArtifact as error:
        broken = unreadable(candidate, candidate, error)
        return Checked(candidate, broken, broken.findings, passed=False, exit_code=error.exit_code)
    except (CkptDoctorError, OSError) as error:
        broken = unreadable(candidate, candidate, UnreadableArtifact(str(error), candidate))
        return Checked(candidate, broken, broken.findings, passed=False, exit_code=EXIT_UNREADABLE)


def _row(checked: Checked, candidate: str) -> Row:
    found = checked.examination
    gravest = max((each.severity for each in checked.findings), key=_GRAVITY.__getitem__, default=None)
    row = Row(
        path=checked.path,
        run=os.path.dirname(checked.path),
        verdict=checked.verdict,
        passed=checked.passed,
        severity=gravest.value if gravest is not None else None,
        findings=tuple(dict.fromkeys(each.code for each in checked.findings)),
    )
    return row if found is None else _described(row, found, candidate)


def _described(row: Row, found: Examination, candidate: str) -> Row:
    state = found.state
    size, modified = _files(candidate)
    row = row._replace(
        format=found.format.value,
        status=found.status.value,
        bytes=size,
        modified=modified,
        error=str(found.error) if found.error is not None else None,
        unreachable=isinstance(found.error, Unreachable),
    )
    if state is None:
        return row
    slots = [slot for each in state.optimizers for slot in each.slots]
    counts = tuple(each.iterations for each in state.optimizers if each.iterations is not None)
    return row._replace(
        framework=state.producer.framework,
        framework_version=state.producer.version,
        optimizers=tuple(each.class_name or "unknown" for each in state.optimizers),
        iterations=counts[0] if counts else None,
        counts=counts,
        slots=len(slots),
        missing=sum(len(each.missing) for each in state.optimizers),
        optimizer_bytes=sum(array_nbytes(slot.tensor.dtype, slot.tensor.shape) for slot in slots),
    )


def _files(candidate: str) -> tuple[int, float]:
    """Bytes of a candidate's files, and when the last of them was written."""
    try:
        if storage.is_dir(candidate):
            there: list[Any] = [each for level in storage.walk(candidate) for each in level if each.is_file()]
            stats = [each.stat() for each in there]
        else:
            shards = storage.shards(candidate.removesuffix(".index"), ".data-") if candidate.endswith(".index") else []
            stats = [storage.stat(each) for each in (candidate, *shards)]
    except (OSError, UnreadableArtifact):
        return 0, 0.0
    return sum(each.st_size for each in stats), max((each.st_mtime for each in stats), default=0.0)
