"""`--deep`: every byte of an artifact read once, tensor by tensor, on two cores."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.containers.tensors.scan import TensorScan, are_equal, scan_pair, scan_tensor
from ckptdoctor.containers.tensors.values import expect
from ckptdoctor.containers.zips.signature import is_zip
from ckptdoctor.diagnosis.scan import PairScan, Scan
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.examination import Progress, tensors
from ckptdoctor.formats.registry import tables
from ckptdoctor.optimizers.moments import PAIR, bound
from ckptdoctor.references import Archived, Chunked, FileRange, H5Data, Location, Pieces, TensorRef
from ckptdoctor.state import OptimizerState, Role, Slot, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.containers.zips.archive_sums import Member

WORKERS = 2
_MOST_OPEN = 64
_EXACT = frozenset({"float32", "float64"})
"""Averages kept in fewer bits stop moving when an update is too small for them: the bound does not hold there."""


class _Pair(NamedTuple):
    variable: str
    bound: float
    first: TensorRef
    second: TensorRef


class _Outcome(NamedTuple):
    scans: Mapping[TensorRef, TensorScan] = {}
    pair: PairScan | None = None
    problem: tuple[str, str] | None = None
    damaged: tuple[str, ...] = ()
    sums: Mapping[Place, int] = {}


def scan(state: TrainingState, resolved: str, progress: Progress | None = None) -> Scan:
    """Reads every tensor of an artifact.

    Args:
        state: What the artifact holds.
        resolved: The file that was read for it; the members of a zip archive have checksums of their own.
        progress: Is told how many bytes of how many are read.

    Returns:
        What was seen; tensors whose bytes could not be read are in `skipped`, never left out in silence.
    """
    refs = [ref for ref in dict.fromkeys((*tensors(state), *state.others)) if ref.place is not None]
    pairs = [pair for each in state.optimizers for pair in _pairs(each)]
    expect(refs)
    with ExitStack() as stack:
        places = _Places(stack)
        where = {ref: places.find(ref) for ref in refs}
        paired = {ref for pair in pairs for ref in (pair.first, pair.second)}
        archives = _archives(resolved, (each.location for each in where.values()))
        summed = any(archives.values())
        jobs: list[tuple[int, bool, Callable[[], _Outcome]]] = [
            (part.nbytes, False, partial(_scan_part, part))
            for members in archives.values()
            for each in members
            for part in each.between
        ]
        jobs += [
            (0, False, partial(_scan_members, path, frozenset(each.name for each in members)))
            for path, members in archives.items()
        ]
        jobs += [(0, False, partial(_scan_inner, each)) for each in _within(refs)]
        jobs += [
            (_nbytes(pair.first) + _nbytes(pair.second), _slow(where, pair.first, pair.second),
             partial(_scan_pair, pair, where, places, crc32=summed))
            for pair in pairs
        ]  # fmt: skip
        jobs += [
            (_nbytes(ref), _slow(where, ref), partial(_scan_one, ref, where[ref], places, crc32=summed))
            for ref in refs
            if ref not in paired
        ]
        jobs += [(0, False, partial(_scan_table, path)) for path in tables(state.format, resolved)]
        outcomes = _run(jobs, progress)
    found: dict[TensorRef, TensorScan] = {}
    for outcome in outcomes:
        found.update(outcome.scans)
    if summed:
        outcomes += _agreement(archives, outcomes, where)
    return Scan(
        tensors={ref: found[ref] for ref in refs if ref in found},
        pairs=tuple(outcome.pair for outcome in outcomes if outcome.pair is not None),
        equal_averages=_equal_averages(state, found),
        damaged=tuple(sentence for outcome in outcomes for sentence in outcome.damaged),
        skipped={**_unknown(state), **dict(outcome.problem for outcome in outcomes if outcome.problem is not None)},
        nbytes=sum(_nbytes(ref) for ref in found),
    )


def _unknown(state: TrainingState) -> dict[str, str]:
    """Slots of types that nobody can read: subclasses of torch.Tensor that a program made for itself."""
    slots = [slot.tensor for each in state.optimizers for slot in each.slots]
    return {ref.key: "nothing tells how its values are stored" for ref in slots if ref.place is None and ref.size}


def _run(jobs: list[tuple[int, bool, Callable[[], _Outcome]]], progress: Progress | None) -> list[_Outcome]:
    """Runs the jobs, those that go through HDF5 one after another: its library does one thing at a time."""
    total, done, lock = sum(size for size, _, _ in jobs), 0, Lock()

    def run(size: int, job: Callable[[], _Outcome]) -> _Outcome:
        nonlocal done
        outcome = job()
        with lock:
            done += size
            if progress is not None:
                progress(done, total)
        return outcome

    if len(jobs) == 1:
        return [run(jobs[0][0], jobs[0][2])]
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            futures = {n: pool.submit(run, size, job) for n, (size, slow, job) in enumerate(jobs) if not slow}
            direct = {n: run(size, job) for n, (size, slow, job) in enumerate(jobs) if slow}
            return [direct[n] if n in direct else futures[n].result() for n in range(len(jobs))]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Places:
    """Where bytes can be read directly, past HDF5; and the files, open."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._files: dict[str, RegularFile] = {}
        self._raw: object = None

    def find(self, ref: TensorRef) -> TensorRef:
        """The tensor as a range of a file where it is one: a contiguous HDF5 data set, a stored zip member."""
        if not isinstance(ref.place, H5Data):
            return ref.at(ref.location)
        from ckptdoctor.containers.tensors.raw_places import RawPlaces

        if not isinstance(self._raw, RawPlaces):
            self._raw = self._stack.enter_context(RawPlaces())
        try:
            place = self._raw.place(ref)
        except UnreadableArtifact:
            return ref  # says so when it is scanned
        return ref if place is None else ref.at(FileRange(place.path, place.start, place.nbytes))

    def file(self, ref: TensorRef) -> RegularFile | None:
        """The open file of a range; None where it is none, or too many are open."""
        location = ref.location
        if not isinstance(location, FileRange):
            return None
        path = location.path
        if path not in self._files and len(self._files) < _MOST_OPEN:
            self._files[path] = self._stack.enter_context(RegularFile(path))
        return self._files.get(path)


def _slow(where: Mapping[TensorRef, TensorRef], *refs: TensorRef) -> bool:
    return any(isinstance(where[ref].place, H5Data) for ref in refs)


def _scan_one(ref: TensorRef, place: TensorRef, places: _Places, *, crc32: bool) -> _Outcome:
    try:
        return _Outcome({ref: scan_tensor(place, places.file(place), crc32=crc32)})
    except UnreadableArtifact as error:
        return _failed(ref.key, error)


def _failed(keys: str, error: UnreadableArtifact) -> _Outcome:
    """Of values that could not be read: what is known to be damaged is no matter of what was left out."""
    return _Outcome(damaged=(str(error),)) if error.code == "I004" else _Outcome(problem=(keys, str(error)))


def _scan_pair(pair: _Pair, where: Mapping[TensorRef, TensorRef], places: _Places, *, crc32: bool) -> _Outcome:
    first, second = where[pair.first], where[pair.second]
    try:
        files = places.file(first), places.file(second)
        one, other, figures = scan_pair(first, second, pair.bound, files, crc32=crc32)
    except UnreadableArtifact as error:
        return _failed(f"{pair.first.key}, {pair.second.key}", error)
    return _Outcome({pair.first: one, pair.second: other}, PairScan(pair.variable, pair.bound, figures))


def _pairs(optimizer: OptimizerState) -> Iterator[_Pair]:
    limit = bound(optimizer)
    if limit is None:
        return
    held: dict[str, dict[Role, Slot]] = {}
    for slot in optimizer.slots:
        if slot.variable is not None and slot.role in PAIR:
            held.setdefault(slot.variable, {})[slot.role] = slot
    for variable, slots in held.items():
        if len(slots) < len(PAIR):
            continue
        first, second = (slots[role].tensor for role in PAIR)
        simple = all(isinstance(ref.place, (bytes, FileRange, H5Data, Chunked)) for ref in (first, second))
        if simple and first.shape == second.shape and first.dtype == second.dtype and first.dtype in _EXACT:
            yield _Pair(variable, limit, first, second)


def _equal_averages(state: TrainingState, found: Mapping[TensorRef, TensorScan]) -> tuple[str, ...]:
    """Variables whose moving average is the same as their weights; only those with equal extremes are compared."""
    weights = {variable.path: variable.tensor for variable in state.variables}
    equal: list[str] = []
    for optimizer in state.optimizers:
        for slot in optimizer.slots:
            if slot.role is not Role.MOVING_AVERAGE or slot.variable is None:
                continue
            own, other = found.get(slot.tensor), found.get(weights.get(slot.variable, slot.tensor))
            if own is None or other is None or (own.least, own.greatest) != (other.least, other.greatest):
                continue
            try:
                if are_equal(slot.tensor, weights[slot.variable]):
                    equal.append(slot.variable)
            except UnreadableArtifact:
                continue  # already among what was skipped
    return tuple(equal)


def _nbytes(ref: TensorRef) -> int:
    return ref.place.nbytes if isinstance(ref.place, FileRange) else array_nbytes(ref.dtype, ref.shape)


def _scan_table(path: str) -> _Outcome:
    try:
        with RegularFile(path) as file:
            return _Outcome(damaged=tuple(Table(file).damaged()))
    except UnreadableArtifact as error:
        return _Outcome(problem=(os.path.basename(path), str(error)))


def _scan_members(path: str, others: frozenset[str] = frozenset(), only: Collection[str] | None = None) -> _Outcome:
    """Checksums of an archive's members, all but some, or some only."""
    from ckptdoctor.containers.zips.archive import ZipArchive

    try:
        with ZipArchive(path) as archive:
            names = [name for name in archive.names if name not in others] if only is None else only
            return _Outcome(damaged=tuple(archive.damaged(names)))
    except UnreadableArtifact as error:
        return _Outcome(problem=(os.path.basename(path), str(error)))


def _archives(resolved: str, locations: Iterable[Location | None]) -> "dict[str, tuple[Member, ...]]":
    """The zip archives of an artifact: the file itself, or those of a directory in which tensors lie."""
    ranges: dict[str, list[Place]] = {resolved: []}
    for each in locations:
        if isinstance(each, FileRange):
            ranges.setdefault(each.path, []).append(Place(each.path, each.offset, each.nbytes))
    zipped = [path for path in ranges if is_zip(path)]
    if not zipped:
        return {}
    from ckptdoctor.containers.zips.archive_sums import members

    return {path: members(path, ranges[path]) for path in zipped}


def _within(refs: Iterable[TensorRef]) -> Iterator[Archived]:
    """The archives within files that tensors are: each chunk of a distributed checkpoint is one."""
    for ref in refs:
        places = [each.location for each in ref.place.parts] if isinstance(ref.place, Pieces) else [ref.place]
        yield from (each for each in places if isinstance(each, Archived))


def _scan_inner(archived: Archived) -> _Outcome:
    from ckptdoctor.containers.torchfiles.inner import damaged

    try:
        return _Outcome(damaged=tuple(damaged(archived)))
    except UnreadableArtifact as error:
        return _Outcome(problem=(os.path.basename(archived.path), str(error)))


def _scan_part(part: Place) -> _Outcome:
    from ckptdoctor.containers.zips.archive_sums import checksum

    try:
        return _Outcome(sums={part: checksum(part)})
    except UnreadableArtifact:
        return _Outcome()  # its member is read again, which says why


def _agreement(
    archives: "Mapping[str, Iterable[Member]]", outcomes: Iterable[_Outcome], where: Mapping[TensorRef, TensorRef]
) -> list[_Outcome]:
    """Members whose parts do not come to their checksum are read once more, as a whole, for what is to be said."""
    sums: dict[Place, int] = {}
    for outcome in outcomes:
        sums.update(outcome.sums)
        for ref, scanned in outcome.scans.items():
            location = where[ref].location
            if isinstance(location, FileRange) and scanned.crc32 is not None:
                sums[Place(location.path, location.offset, location.nbytes)] = scanned.crc32
    doubtful = {path: [each.name for each in members if not each.agrees(sums)] for path, members in archives.items()}
    return [_scan_members(path, only=names) for path, names in doubtful.items() if names]
