"""A repair from path to result: find what can be mended, mend one after the other, read back, put in place."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import NamedTuple, TypedDict

from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.tensors.values import kept_open, release
from ckptdoctor.errors import NoSuchPath, Refused, UnreadableArtifact, UsageProblem
from ckptdoctor.examination import Examination, examine, with_libhdf5
from ckptdoctor.formats.registry import named as function
from ckptdoctor.formats.registry import program
from ckptdoctor.formats.torch.mending.files import find as find_by_look
from ckptdoctor.formats.torch.mending.files import mend as mend_by_look
from ckptdoctor.grafting.building.compare import same_weights
from ckptdoctor.grafting.building.inputs import Inputs
from ckptdoctor.grafting.building.output_name import require_loadable_name
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.references import Inline
from ckptdoctor.repairing.carrying import backups_of, bytes_of, named, put_in_place
from ckptdoctor.repairing.fixes import FIXES, Fix, fix
from ckptdoctor.repairing.state_files import astray
from ckptdoctor.state import TrainingState
from ckptdoctor.workplace import at_hand

Path = str | os.PathLike[str]
Settings = Mapping[str, object]
_STEPS = "steps"


class RepairSettings(TypedDict, total=False):
    """What a fix may need to be told."""

    iterations: int | None
    learning_rate: float | None
    loader: str | None


class Finding(NamedTuple):
    """What a fix would mend, or has mended, a sentence each."""

    fix: Fix
    told: tuple[str, ...]


class Repair(NamedTuple):
    """What was done.

    Attributes:
        path: The artifact, as it was named.
        output: What was written: the artifact itself, where it was mended in place.
        backups: What the files of the original are called from then on; none where it stayed as it was.
        done: What was mended, fix by fix.
    """

    path: str
    output: str
    backups: tuple[str, ...]
    done: tuple[Finding, ...]

    @property
    def backup(self) -> str:
        """What the original is called from then on, or the first of its files; "" where it stayed as it was."""
        return self.backups[0] if self.backups else ""


@at_hand("path")
def could(path: Path, settings: Settings | None = None) -> tuple[Finding, ...]:
    """What can be mended of an artifact.

    Raises:
        UnreadableArtifact: It cannot be read.
        UsageProblem: Nothing is at this path, or a setting makes no sense.
    """
    try:
        return _found(path, [each for each in FIXES if each.mends], settings or {}, asked=False)[1]
    finally:
        release()


@at_hand("path", output="output")
def repair(
    path: Path,
    output: Path | None = None,
    *,
    fixes: Sequence[str] = (),
    settings: Settings | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Repair:
    """Mends an artifact.

    Args:
        path: What `inspect` takes.
        output: What is written; None: the artifact itself, whose original is kept as `PATH.bak`.
        fixes: Names of what is to be mended; none: all that is safe.
        settings: `iterations`, `learning_rate`, `loader`.
        overwrite: Replace what lies at the output.
        progress: Told how many bytes of how many are done.

    Raises:
        Refused: Nothing is to be mended, or it could not be, or a name is taken; nothing was written.
        UnreadableArtifact: It cannot be read.
        UsageProblem: Nothing is at this path, there is no such fix, or a setting makes no sense.
    """
    asked = {fix(name).name for name in fixes}
    chosen = [each for each in FIXES if each.name in asked or (each.safe and not asked)]
    told = settings or {}
    lacking = next((each for each in chosen if each.needs and told.get(each.needs) is None), None)
    if lacking is not None:
        raise UsageProblem(f"--fix {lacking.name} needs --{lacking.needs.replace('_', '-')}")
    try:
        found, there = _found(path, chosen, told, asked=bool(fixes))
        _require(chosen if fixes else [], there, found)
        if output is not None and any(each.fix.beside for each in there):
            there = _not_beside(there, os.fspath(path), asked=bool(fixes))
        place = found.resolved if output is None else named(output)
        inside = [each for each in there if not each.fix.beside]
        backups: tuple[str, ...] = ()
        if inside:
            backups = _carry_out(found, place, [each.fix for each in inside], told, in_place=output is None,
                                 overwrite=overwrite, progress=progress)  # fmt: skip
        if len(inside) < len(there):
            place, backups = _write_beside(os.fspath(path))
        return Repair(os.fspath(path), place, backups, there)
    finally:
        release()


def _require(chosen: Sequence[Fix], there: Sequence[Finding], found: Examination) -> None:
    idle = {each.name for each in chosen} - {each.fix.name for each in there}
    if idle:
        raise Refused(f"there is nothing to mend by {', '.join(sorted(idle))}; --list shows what there is", found.path)
    if not there:
        raise Refused("there is nothing to mend that is safe without a word; --list shows what can be", found.path)


def _not_beside(there: tuple[Finding, ...], path: str, *, asked: bool) -> tuple[Finding, ...]:
    """Without fixes of files beside: a copy of a run would be made for a few bytes of text."""
    rest = tuple(each for each in there if not each.fix.beside)
    if asked or not rest:
        raise Refused("state-file writes the one file beside the checkpoints that names them: say --in-place", path)
    return rest


def _found(
    path: Path, fixes: Sequence[Fix], settings: Settings, *, asked: bool
) -> tuple[Examination, tuple[Finding, ...]]:
    """The artifact, and what the fixes would mend of it."""
    given = os.fspath(path)
    beside = astray(given) if any(each.beside for each in fixes) else None
    found = next(examine(given), None)
    if found is None:
        raise NoSuchPath("no artifact is here", given)
    there: list[Finding] = []
    for each in fixes:
        told: tuple[str, ...] = ()
        with nullcontext() if asked else suppress(Refused):  # what cannot be mended is nothing that could be
            told = _finding(each, found, settings, asked=asked)
        if each.beside and beside is not None:
            told = (beside.told,)
        if told:
            there.append(Finding(each, told))
    if found.state is None and not there:
        raise found.error or UnreadableArtifact("it cannot be read", given)
    return found, tuple(there)


def _finding(each: Fix, found: Examination, settings: Settings, *, asked: bool = False) -> tuple[str, ...]:
    looking = each.find if each.unreadable and found.state is None else each.changed if asked else ""
    if looking and each.unreadable:
        said: tuple[str, ...] = function(looking)(found.resolved, settings)
        return said
    if each.beside or each.unreadable or found.state is None or each.of not in {"", _program(found)}:
        return ()
    if _by_look(each, found):
        return find_by_look(function(each.look), found.resolved, settings)
    told: tuple[str, ...] = with_libhdf5(function(each.find), found.resolved, settings, sides=(found,))
    return told


def _program(found: Examination) -> str:
    return dialect(program(found.state)).program if found.state is not None else ""


def _by_look(each: Fix, found: Examination) -> bool:
    return bool(each.look) and (not each.find or _program(found) == "torch")


def _carry_out(
    found: Examination,
    place: str,
    fixes: Sequence[Fix],
    settings: Settings,
    in_place: bool,  # noqa: FBT001 - one of many
    overwrite: bool,  # noqa: FBT001
    progress: Callable[[int, int], None] | None,
) -> tuple[str, ...]:
    """Mends one thing after the other, each in a copy of its own; answers what the original is called afterwards."""
    backups = backups_of(found.resolved) if in_place else ()
    if found.state is not None:
        require_loadable_name(place, found.resolved, found.state.format)
    total, done = bytes_of(found.resolved, found.state) * len(fixes), 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(min(done, total), total)

    with put_in_place(place, Inputs([found.resolved]), overwrite=overwrite, in_place=in_place) as staged:
        steps = os.path.join(os.path.dirname(staged), _STEPS)
        current = found
        for number, each in enumerate(fixes, 1):
            goal = staged if number == len(fixes) else os.path.join(steps, str(number), os.path.basename(staged))
            os.makedirs(os.path.dirname(goal), exist_ok=True)
            _mend(each, current, goal, settings, count)
            current = next(examine(goal))
            if current.state is None:
                raise Refused(f"{each.name} was read back and {current.error}; nothing was written", found.path)
        shutil.rmtree(steps, ignore_errors=True)
        left = [each.name for each in fixes if each.mends and _finding(each, current, settings)]
        if left:
            raise Refused(f"{', '.join(left)} did not mend what it is for; nothing was written", found.path)
        if not any(each.renames or each.unreadable for each in fixes):
            with_libhdf5(_compare, current, found, sides=(current, found))
    return backups


def _mend(each: Fix, found: Examination, goal: str, settings: Settings, count: Callable[[int], None]) -> None:
    if _by_look(each, found):
        mend_by_look(function(each.look), found.resolved, goal, settings, count)
    else:
        function(each.mend)(found.resolved, goal, settings, count)


def _compare(result: Examination, original: Examination) -> None:
    """Holds the weights of a result against those of the original: no fix changes them.

    They are told by their keys: what they are called follows from what else is there. What stands in a pickle itself is
    numpy's, and no weight.
    """
    if result.state is not None and original.state is not None:
        with kept_open(), RawPlaces() as places:
            same_weights(_by_key(result.state), _by_key(original.state), places)


def _by_key(state: TrainingState) -> TrainingState:
    held = [each for each in state.variables if not isinstance(each.tensor.location, Inline)]
    return state._replace(variables=tuple(each._replace(path=each.tensor.key) for each in held))


def _write_beside(path: str) -> tuple[str, tuple[str, ...]]:
    """Writes the file beside the checkpoints; answers it, and what the old one is called."""
    wanted = astray(path)
    if wanted is None:
        raise Refused("its state file changed meanwhile; nothing was written", path)
    backups = backups_of(wanted.path)
    inputs = Inputs([wanted.path] if os.path.exists(wanted.path) else [])
    with (
        put_in_place(wanted.path, inputs, overwrite=True, in_place=True) as staged,
        open(staged, "x", encoding="utf-8") as stream,
    ):
        stream.write(wanted.text)
    return wanted.path, backups
