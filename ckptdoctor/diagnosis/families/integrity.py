"""I: is the artifact whole, and was all of it read?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from ckptdoctor.diagnosis.evidence import Evidence, Rule, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import repair_of
from ckptdoctor.errors import UnknownFormat
from ckptdoctor.formats.registry import record
from ckptdoctor.references import Chunked, TensorRef
from ckptdoctor.state import ModelVariable, OptimizerState, TrainingState
from ckptdoctor.words import enumerate_some

_TRUNCATED = "truncated"
_SALVAGED = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".h5", ".hdf5", ".keras")
"""Endings of files whose tensors lie one after the other."""
_SALVAGE = "take an older artifact, or save again; what is whole of this one can be salvaged"
_OLDER = "take an older artifact, or save again; a damaged file cannot be mended from itself"


def _unreadable(evidence: Evidence) -> Iterator[tuple[str, str]]:
    if evidence.error is not None and evidence.error.code == "I001":
        cut_off = _TRUNCATED in str(evidence.error) and evidence.path.endswith(_SALVAGED) and _is_it(evidence)
        hint = f"{_SALVAGE}: {repair_of(evidence, 'salvage')}" if cut_off else _OLDER
        yield str(evidence.error), "" if isinstance(evidence.error, UnknownFormat) else hint


_COPY_FILE = "copy the file again from where it was saved, or take an older checkpoint"
_COPY_ALL = "copy every file of the checkpoint again; where it has an index, all that the index names"
_SHARD = r"\.data-\d{5}-of-\d{5}\Z"
_OF_ONE = ".data-00000-of-00001"


def _shard_missing(evidence: Evidence) -> Iterator[tuple[str, str]]:
    path = _data_file(evidence)
    also = _salvaged(evidence) if path and not path.endswith(_OF_ONE) else ""
    yield from noticed("I002", _COPY_ALL + also)(evidence)


def _shard_truncated(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("I003", _COPY_FILE + (_salvaged(evidence) if _data_file(evidence) else ""))(evidence)


def _data_file(evidence: Evidence) -> str:
    """The data file of a TensorFlow checkpoint that is at fault; "" if none is, or it is one within a SavedModel."""
    path = (evidence.error.path if evidence.error is not None else None) or ""
    return path if re.search(_SHARD, path) and _is_beside(path, evidence) else ""


def _is_it(evidence: Evidence) -> bool:
    """Whether the file that is broken is the artifact, and not one within it."""
    path = (evidence.error.path if evidence.error is not None else None) or evidence.path
    return os.path.basename(path) == os.path.basename(evidence.path) and _is_beside(path, evidence)


def _is_beside(path: str, evidence: Evidence) -> bool:
    return os.path.dirname(path) == os.path.dirname(evidence.path)


def _salvaged(evidence: Evidence) -> str:
    return f"; what is whole can be salvaged: {repair_of(evidence, 'salvage')}"


def _checksum_mismatch(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("I004", "copy the artifact again from where it was saved")(evidence)
    scan = evidence.scan
    if scan is None:
        return
    wrong = [ref.key for ref, each in scan.tensors.items() if each.checksum_ok is False]
    checked = sum(each.checksum_ok is not None for each in scan.tensors.values())
    if wrong and len(wrong) == checked > 1:
        yield (
            f"no checksum of {checked:,} tensors matches: the index and the data are of different saves",
            "copy the .index and every .data-* file of one save together",
        )
    elif wrong:
        summed = evidence.state is not None and record(evidence.state.format).summed
        yield (
            f"the checksums of {len(wrong):,} of {checked:,} tensors do not match: {enumerate_some(wrong, 8)}",
            "the data was changed after it was written: copy the artifact again from where it was saved"
            + (_salvaged(evidence) if summed else ""),
        )
    for sentence in scan.damaged:
        yield sentence, "copy the artifact again from where it was saved"


def _interrupted_save(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("I005", "the last save did not end: take an older artifact, or save again")(evidence)
    run = evidence.run
    if run is not None and run.temporary:
        yield (
            f"{len(run.temporary):,} temporary files of a save that did not end: {enumerate_some(run.temporary)}",
            "remove them once no process is saving here any more",
        )


def _newest_incomplete(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("I006", "remove it once no process is saving there, or name the complete one")(evidence)
    for family in evidence.run.families.values() if evidence.run is not None else ():
        newest = family[-1]
        if newest.readable or len(family) == 1:
            continue
        best = next((each for each in reversed(family) if each.readable), None)
        yield (
            f"{newest.name}, the newest of {len(family):,}, is not complete: {newest.problem}"
            + (f"; the newest complete one is {best.name}" if best else "; none of the others is complete"),
            f"resume from {best.path}" if best else "",
        )


_NO_TENSOR = ("unknown", "resource", "variant")
"""Types whose values nobody reads, or that are handles of a running program."""


def _of_strange_types(state: TrainingState) -> list[TensorRef]:
    """Tensors of types that hold no numbers. An artifact has a few types, and may have 100,000 tensors."""
    variables, slots = _tensors(state.variables, state.optimizers)
    own = {ref.dtype for ref in slots}
    strange = {dtype for dtype in own.union([ref.dtype for ref in variables]) if dtype.startswith(_NO_TENSOR)}
    found = [ref for ref in (*variables, *slots) if ref.dtype in strange] if strange else []
    # Models have tables of texts, optimizers have none.
    return found + [ref for ref in slots if ref.dtype == "string"] if "string" in own else found


def _tensors(
    variables: Iterable[ModelVariable], optimizers: Iterable[OptimizerState]
) -> tuple[list[TensorRef], list[TensorRef]]:
    """The tensors of the variables, and those of all slots."""
    return [each.tensor for each in variables], [slot.tensor for each in optimizers for slot in each.slots]


_KEEP_SUMS = "keep checksums of the files beside the checkpoint"


def _no_checksums(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Arrays in chunks whose codings have none; the other formats without checksums hold nothing that seems checked."""
    variables, slots = _tensors(evidence.variables, evidence.optimizers)
    places = [ref.place for ref in (*variables, *slots)]
    bare = [place for place in places if type(place) is Chunked and not place.is_summed]
    if bare:
        yield (
            f"the values of {len(bare):,} arrays have no checksums: bytes that change are restored without a word",
            _KEEP_SUMS,
        )
    yield from noticed("I009", _KEEP_SUMS)(evidence)


def _not_fully_read(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("I007", "what was not read was not judged")(evidence)
    strange = _of_strange_types(evidence.state) if evidence.state is not None else []
    if strange and not any(each.code == "I007" for each in evidence.oddities):
        names = enumerate_some([f"{ref.key} ({ref.dtype})" for ref in strange])
        what = "tensor is of a type that holds" if len(strange) == 1 else "tensors are of types that hold"
        yield f"{len(strange):,} {what} no numbers: {names}", "what was not read was not judged"
    scan = evidence.scan
    if scan is not None and scan.skipped:
        names = enumerate_some(list(scan.skipped), 8)
        yield (
            f"the values of some tensors were not scanned: {names}",
            "what was not read was not judged",
        )
    run = evidence.run
    if run is not None and run.unread:
        yield f"{run.unread:,} more checkpoints lie in the directory than are looked into", "name the ones that matter"


RULES: tuple[Rule, ...] = (
    Rule("I001", "unreadable", Severity.ERROR, "truncated, garbage, or not what its format requires", _unreadable),
    Rule(
        "I002",
        "shard-missing",
        Severity.ERROR,
        "a data file is missing, and the tensors that it held",
        _shard_missing,
    ),
    Rule(
        "I003",
        "shard-truncated",
        Severity.ERROR,
        "a data file is too short, and the tensors that are lost",
        _shard_truncated,
    ),
    Rule(
        "I004",
        "checksum-mismatch",
        Severity.ERROR,
        "stored checksums do not match the bytes",
        _checksum_mismatch,
        deep=True,
    ),
    Rule("I005", "interrupted-save", Severity.WARNING, "traces of a save that did not end", _interrupted_save),
    Rule(
        "I006",
        "newest-incomplete",
        Severity.ERROR,
        "the newest checkpoint lacks parts; the newest complete one",
        _newest_incomplete,
    ),
    Rule(
        "I007", "not-fully-read", Severity.WARNING, "something in it was not read, so it is not clean", _not_fully_read
    ),
    Rule(
        "I008",
        "not-an-artifact",
        Severity.ERROR,
        "a Git LFS pointer, an empty file, an error page under a model's name",
        noticed("I008", "fetch or copy the real file again"),
    ),
    Rule("I009", "no-checksums", Severity.INFO, "nothing would tell that values were changed", _no_checksums),
)
