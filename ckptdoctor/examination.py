"""One artifact from path to findings: the straight way that every command goes."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from ckptdoctor import storage
from ckptdoctor.diagnosis import rules, status
from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.findings import Finding
from ckptdoctor.errors import CkptDoctorError, UnreadableArtifact, UsageProblem
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.locate import locate, spoken
from ckptdoctor.formats.registry import UNKNOWN, is_isolated, only_format, read, record
from ckptdoctor.methods import carry_out
from ckptdoctor.references import TensorRef
from ckptdoctor.state import NOTHING, Format, ModelVariable, OptimizerState, Status, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.containers.tensors.values import Statistics

_Value = TypeVar("_Value")


class Examination(NamedTuple):
    """An artifact, read and judged.

    Attributes:
        path: As it was given.
        resolved: What was read for it: the prefix behind a directory, for example.
        state: What it holds; None if it cannot be read.
        status: Whether training will resume from it.
        summary: One factual line.
        bare_verdict: What an engineer acts on, findings aside.
        findings: What the rules found.
        error: Why it cannot be read; None if it can.
        statistics: Figures per tensor, where they were asked for.
        claimed: The format of what cannot be read, where its reader reads only that one.
    """

    path: str
    resolved: str
    state: TrainingState | None
    status: Status
    summary: str
    bare_verdict: str
    findings: tuple[Finding, ...] = ()
    error: UnreadableArtifact | None = None
    statistics: "Mapping[TensorRef, Statistics | None]" = NOTHING
    claimed: Format = UNKNOWN.id

    @property
    def verdict(self) -> str:
        """What an engineer acts on, with what keeps the usual call from it."""
        codes = {each.code for each in self.findings}
        if "L002" in codes:
            return f"{self.bare_verdict}, but not by the usual call: see L002"
        return (
            f"{self.bare_verdict}, but TensorFlow does not find it: see P001" if "P001" in codes else self.bare_verdict
        )

    @property
    def format(self) -> Format:
        """Its format; `unknown` if it cannot be read and could be of several."""
        return self.state.format if self.state else self.claimed

    @property
    def optimizers(self) -> tuple[OptimizerState, ...]:
        """Its optimizers."""
        return self.state.optimizers if self.state else ()

    def to_dict(self, *, tensors: bool = False) -> dict[str, Any]:
        """Its entry in the JSON of `inspect`; every tensor too, and figures where they were asked for."""
        stats = bool(self.statistics)
        found: dict[str, Any] = carry_out("examination_document", self, tensors=tensors, stats=stats)
        return found

    def to_frame(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """Every variable, slot and other state of the optimizers, a row each, in pandas or polars."""
        return carry_out("examination_frame", self, library)

    def __repr__(self) -> str:
        return str(carry_out("examination_text", self))

    def _repr_html_(self) -> str:
        return str(carry_out("examination_html", self))


Progress = Callable[[int, int], None]
"""Is told how many bytes of how many have been read."""


def examine(
    path: str | os.PathLike[str],
    *,
    everything: bool = False,
    stats: bool = False,
    model: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[Examination]:
    """Reads and judges what a path means.

    Args:
        path: A file, a directory or a checkpoint prefix.
        everything: Of a directory, every artifact that lies there.
        stats: Read the data too, for figures per tensor.
        model: The weights of an optimizer that PyTorch saved alone.
        progress: Is told how far reading the data is.

    Yields:
        One examination an artifact; artifacts that cannot be read carry an `error`.

    Raises:
        UsageProblem: Nothing is at this path; or a model is named that has no weights, or for what has its own.
    """
    given = storage.named(os.fspath(path))
    weights = _weights(os.fspath(model)) if model is not None else ()
    try:
        targets = locate(given, everything=everything)
    except UnreadableArtifact as error:
        yield unreadable(given, given, error)
        return
    except (MemoryError, RecursionError) as error:
        yield unreadable(given, given, _exhausted(error))
        return
    for target in targets:
        found = examine_target(target._replace(weights=weights), stats=stats, progress=progress)
        yield found if everything else _in_its_run(given, found)


def _weights(path: str) -> tuple[ModelVariable, ...]:
    try:
        found = next(examine(path))
    except UsageProblem as error:
        raise UsageProblem(f"--model {path}: {error}") from error
    variables = tuple(each for each in found.state.variables if each.tensor.location) if found.state else ()
    if not variables:
        raise UsageProblem(f"--model {path} has no weights: {found.error or found.summary}")
    return variables


_MOST_BESIDE = 64
"""So many artifacts of a run directory are looked into for what they say of its latest; `check` looks into more."""


def _in_its_run(path: str, found: Examination) -> Examination:
    """The latest of a run directory, with what the directory says of it."""
    if not storage.is_dir(path):
        return found
    from ckptdoctor import runs
    from ckptdoctor.formats.directories import lying_in

    if not runs.is_run_directory(path) or not runs.has_checkpoints(path):
        return found
    run = runs.look_into(
        path,
        lying_in(path),
        lambda each: found if each.resolved == found.resolved else examine_target(each, judged=False),
        most=_MOST_BESIDE,
    )
    more = rules.judge(Evidence(path, run=run._replace(unread=0)))
    return found._replace(findings=(*found.findings, *unsaid(more, found.findings)))


def unsaid(findings: Iterable[Finding], known: Iterable[Finding]) -> list[Finding]:
    """The findings about a run directory that its latest artifact has not been found to have already."""
    codes = {each.code for each in known}
    return [each for each in findings if each.code not in codes]


def examine_target(
    target: Target, *, stats: bool = False, judged: bool = True, progress: Progress | None = None
) -> Examination:
    """Reads and judges one artifact; what only HDF5's library can read, in a process that may die of it.

    Args:
        target: The artifact.
        stats: Read the data too, for figures per tensor.
        judged: Run the rules; not for those who know more than the artifact, and judge it by that.
        progress: Is told how far reading the data is.
    """
    if not is_isolated(target.reader):
        return _examined(target, stats, judged, progress=progress)
    try:
        return reading(_examined, target, stats, judged, path=target.resolved, progress=progress)
    except UnreadableArtifact as error:  # HDF5's library died of it
        return unreadable(target.path, target.resolved, error)
    except (MemoryError, RecursionError) as error:  # what it holds is too much to be handed over
        return unreadable(target.path, target.resolved, _exhausted(error))


def _examined(
    target: Target,
    stats: bool,  # noqa: FBT001 - by pipe
    judged: bool,  # noqa: FBT001 - by pipe
    *,
    progress: Progress | None = None,
) -> Examination:
    try:
        state = read(target)
        state = state._replace(
            path=target.path,
            oddities=(*target.oddities, *state.oddities),
            optimizers=tuple(_with_schedule(each) for each in state.optimizers),
        )
        statistics = _statistics(state, progress) if stats else {}
    except UnreadableArtifact as error:
        return unreadable(target.path, target.resolved, error)._replace(claimed=only_format(target.reader))
    except (MemoryError, RecursionError) as error:
        return unreadable(target.path, target.resolved, _exhausted(error))
    findings = rules.judge(Evidence(spoken(target.resolved), state, statistics=statistics)) if judged else ()
    return Examination(
        path=target.path,
        resolved=target.resolved,
        state=state,
        status=status.artifact_status(state),
        summary=status.summary(state),
        bare_verdict=status.verdict(state),
        findings=findings,
        statistics=statistics,
    )


def with_libhdf5(
    function: Callable[..., _Value],
    *arguments: object,
    sides: Iterable[Examination | None] = (),
    unread: str = "",
    progress: Progress | None = None,
    limited: bool = False,
    reads: bool = False,
) -> _Value:
    """Calls a function that reads values of these artifacts: if one of them is HDF5, in a process that may die of it.

    Args:
        function: Defined at the top level of a module.
        *arguments: Frozen data.
        sides: Whatever it reads.
        unread: What it reads that may be HDF5, and that could not be examined.
        progress: Handed to the function as `progress=`.
        limited: Memory is bounded, and so is the time within one call of the library; not for what writes results.
        reads: It does nothing else, and may be called twice; see `reading`.

    Raises:
        Crashed: HDF5's library died of one of them.
    """
    paths = [each.path for each in sides if each is not None and record(each.format).isolated]
    paths += [unread] if unread else []
    if not paths:
        return function(*arguments, **_told(progress))
    if reads:
        return reading(function, *arguments, path=" or ".join(paths), progress=progress, limited=limited)
    from ckptdoctor.isolation.client import isolated

    return isolated(function, *arguments, path=" or ".join(paths), progress=progress, limited=limited)


def expect_libhdf5(sides: Iterable[Examination | None]) -> None:
    """Starts the process in which `with_libhdf5` will write for these artifacts: its library takes time to load."""
    if any(each is not None and record(each.format).isolated for each in sides):
        from ckptdoctor.isolation.client import begun

        begun("ckptdoctor.containers.hdf5.editing", beside="h5py")


def reading(
    function: Callable[..., _Value],
    *arguments: object,
    path: str,
    progress: Progress | None = None,
    limited: bool = True,
) -> _Value:
    """Calls a function that reads HDF5: with our reader here; in a process that may die of it where that is not enough.

    Args:
        function: Defined at the top level of a module.
        *arguments: Frozen data.
        path: What it reads.
        progress: Handed to the function as `progress=`.
        limited: As `with_libhdf5` has it.

    Raises:
        Crashed: HDF5's library died of it.
    """
    from ckptdoctor.containers.hdf5.opening import Strange, without_library
    from ckptdoctor.containers.tensors.values import release

    try:
        with suppress(Strange), without_library():
            return function(*arguments, **_told(progress))
    finally:
        release()  # of what was read here no file stays open
    from ckptdoctor.isolation.client import isolated

    return isolated(function, *arguments, path=path, progress=progress, limited=limited)


def _told(progress: Progress | None) -> dict[str, Progress]:
    return {} if progress is None else {"progress": progress}


def _exhausted(error: BaseException) -> UnreadableArtifact:
    resource = "memory" if isinstance(error, MemoryError) else "nesting"
    return UnreadableArtifact(f"reading it needs more {resource} than there is: it is corrupt or hostile")


def unreadable(path: str, resolved: str, error: UnreadableArtifact) -> Examination:
    """The examination of what cannot be read."""
    sentence = str(error)
    findings = rules.judge(Evidence(resolved, error=error))
    return Examination(path, resolved, None, Status.UNREADABLE, "cannot be read", sentence, findings, error)


def not_there(path: str, error: CkptDoctorError) -> Examination:
    """The entry of a path that means no artifact, in a document that answers for every path."""
    return Examination(
        path, path, None, Status.UNREADABLE, "cannot be read", str(error), error=UnreadableArtifact(str(error), path)
    )


def _with_schedule(optimizer: OptimizerState) -> OptimizerState:
    if optimizer.schedule is None:
        return optimizer
    from ckptdoctor.optimizers.keras.schedules import evaluate

    count = optimizer.iterations if optimizer.iterations_reported is None else optimizer.iterations_reported
    return optimizer._replace(schedule=evaluate(optimizer.schedule, count))


def _statistics(state: TrainingState, progress: Progress | None) -> "dict[TensorRef, Statistics | None]":
    from ckptdoctor.containers.tensors.dtypes import array_nbytes
    from ckptdoctor.containers.tensors.values import expect, kept_open, statistics

    refs = list(dict.fromkeys(every_tensor(state)))
    expect(refs)
    total, done = sum(array_nbytes(ref.dtype, ref.shape) for ref in refs), 0
    found: dict[TensorRef, Statistics | None] = {}
    with kept_open():
        for ref in refs:
            found[ref] = statistics(ref)
            done += array_nbytes(ref.dtype, ref.shape)
            if progress is not None:
                progress(done, total)
    return found


def tensors(state: TrainingState) -> Iterator[TensorRef]:
    """Every tensor of a model and its optimizers."""
    for variable in state.variables:
        yield variable.tensor
    for optimizer in state.optimizers:
        for slot in optimizer.slots:
            yield slot.tensor
        for other in optimizer.other:
            yield other.tensor
        for other in optimizer.wrapper.variables if optimizer.wrapper else ():
            yield other.tensor


def every_tensor(state: TrainingState) -> Iterator[TensorRef]:
    """Those, and what counts, and what is neither the model's nor an optimizer's."""
    yield from tensors(state)
    for optimizer in state.optimizers:
        if optimizer.iterations_tensor is not None:
            yield optimizer.iterations_tensor
    yield from state.counter_tensors.values()
    yield from state.others


def exit_code(examinations: list[Examination]) -> int:
    """The highest exit code of all."""
    return max((each.error.exit_code for each in examinations if each.error), default=0)


__all__ = [
    "CkptDoctorError", "Examination", "every_tensor", "examine", "examine_target",
    "exit_code", "not_there", "tensors", "unreadable",
]  # fmt: skip
