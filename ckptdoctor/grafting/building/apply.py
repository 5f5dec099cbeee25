"""Carrying out a plan: write beside the output, read back, compare, sync, rename."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from threading import Lock

from ckptdoctor.containers.bytes.followed import following
from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.zips.signature import is_zip
from ckptdoctor.errors import GraftRefused
from ckptdoctor.examination import Examination, examine, with_libhdf5
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.registry import found_by, record, write
from ckptdoctor.grafting.building.compare import hold_against_plan
from ckptdoctor.grafting.building.flushing import Flushing
from ckptdoctor.grafting.building.inputs import Inputs, files_of
from ckptdoctor.grafting.building.kept import left_behind
from ckptdoctor.grafting.building.output_name import require_loadable_name
from ckptdoctor.grafting.building.receipt import Receipt, digest_files
from ckptdoctor.grafting.building.staging import check_output, publish, staging, told_of
from ckptdoctor.grafting.building.sums import Archived
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.words import enumerate_some


def carry_out(
    plan: Plan,
    donor: Examination | None,
    target: Examination,
    inputs: Inputs,
    *,
    overwrite: bool = False,
    sha256: bool = False,
    check: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Writes what a plan says.

    Args:
        plan: The plan.
        donor: The donor as it was examined; None if there is none.
        target: The target as it was examined.
        inputs: The files of both, as they were then.
        overwrite: Replace what lies under the output's name.
        sha256: Digest large files for the receipt too.
        check: Called with the staged result before it is put in place; it raises to stop.
        progress: Told how many bytes of how many are written, and then read back.

    Raises:
        GraftRefused: The output exists, is an input, cannot be written, or is not as planned, or an input changed
            while it was read; nothing was written.
    """
    check_output(plan.output, list(inputs.artifacts), overwrite=overwrite)
    require_loadable_name(plan.output, target.resolved, plan.format)
    if target.state is None:
        raise GraftRefused("the target cannot be read", target.path)
    sources = inputs.files
    work = _work(plan, target)
    digested = sum(os.path.getsize(each) for each in sources) + work if sha256 else 0
    meter = _Meter(progress, total=work + digested)
    told = None if progress is None else lambda done, _: meter.reach(done)
    with staging(plan.output) as folder, told_of(folder, plan.output, GraftRefused):
        staged = os.path.join(folder, os.path.basename(plan.output.rstrip("/")))
        with inputs.held():
            written = with_libhdf5(build, plan, donor, target, staged, sides=(donor, target), progress=told)
            if check is not None:
                check(staged)
            made = files_of(staged)
            records = digest_files([*sources, *made], everything=sha256, progress=meter.add if sha256 else None)
        publish(staged, plan.output, overwrite=overwrite)
    inputs_read = records[: len(sources)]
    outputs = [each._replace(path=plan.output + each.path[len(staged) :]) for each in records[len(sources) :]]
    # Writers do not know where the result will lie.
    notes = tuple(note.replace("OUT", plan.output) for note in written.notes) + found_by(plan.format, plan.output)
    return Receipt(plan, written._replace(notes=notes), tuple(inputs_read), tuple(outputs))


def build(
    plan: Plan,
    donor: Examination | None,
    target: Examination,
    staged: str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Writes the result under a name of its own, reads it back and holds it against the plan; the disk has it then.

    Raises:
        GraftRefused: It cannot be written, or is not as planned.
    """
    if target.state is None:
        raise GraftRefused("the target cannot be read", target.path)
    meter = _Meter(progress, total=_work(plan, target))
    sides = [each for each in (donor, target) if each is not None]
    recording = donor is not None and record(donor.format).configuration == "required"
    archived = Archived(
        plan.optimizer.sources, (each.resolved for each in sides if record(each.format).holds == "bare-list")
    )
    with Flushing(os.path.dirname(staged)) as flushing:
        with archived.verified_beside() as awaited, following(summed=_is_summed(archived, target)) as follower:
            follower.keep(_weights(target))
            written = write(
                target.format, plan.optimizer, target.resolved, staged,
                link=plan.link, loss_from=donor.resolved if donor and recording else None, progress=meter.add,
            )  # fmt: skip
            flushing.complete()
            meter.reach(_work(plan, target) - sum(slot.nbytes for slot in plan.optimizer.slots))
            result = next(iter(examine(staged)))
            if result.state is None:
                raise GraftRefused(f"the result was read back and {result.error}; nothing was written", plan.output)
            planned = plan.optimizer._replace(name=written.called or plan.optimizer.name)
            summed = archived.plain | awaited.paths
            sums = hold_against_plan(
                result.state, target.state, planned, meter.add, partial=plan.partial, summed=summed
            )
        archived.verify_after(sums)
        awaited.fill_in(sums)
        lost = left_behind(target.state, result.state, planned)
        flushing.finish(each.path for each in awaited.written)
    told = f"of the target's own state is left behind, as the result has no place for it: {enumerate_some(lost, 12)}"
    return written._replace(notes=(*written.notes, told)) if lost else written


def _weights(target: Examination) -> Iterator[Place]:
    """Where the model's weights lie that are copied with all around them."""
    if target.state is not None and record(target.format).isolated:
        with RawPlaces() as places:
            found = [places.place(each.tensor) for each in target.state.variables]
        yield from (each for each in found if each is not None)


def _is_summed(archived: Archived, target: Examination) -> bool:
    """Whether checksums of archives come of what is compared."""
    return bool(archived.plain) or is_zip(target.resolved)


def _work(plan: Plan, target: Examination) -> int:
    """Bytes that are written, those of the slots twice: they are compared as well."""
    before = sum(os.path.getsize(each) for each in files_of(target.resolved))
    return before + 2 * sum(slot.nbytes for slot in plan.optimizer.slots)


class _Meter:
    """How far a graft is, for a progress bar; some writers tell it as they go, the others at their end."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        """So many more bytes are done; several threads may say so."""
        with self._lock:
            self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """So many bytes are done in all."""
        self._done = max(self._done, min(done, self._total))
        if self._progress is not None:
            self._progress(self._done, self._total)
