"""From a result that is being written to one that is in its place: whole, on the disk, or not there at all."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from ckptdoctor.containers.bytes.copying import link_file
from ckptdoctor.errors import Refused
from ckptdoctor.grafting.building.flushing import Flushing
from ckptdoctor.grafting.building.inputs import Inputs, files_of
from ckptdoctor.grafting.building.staging import check_output, existing, publish, staging, sync, told_of
from ckptdoctor.state import TrainingState

_BACKUP, _KEEPING = ".bak", "keeping"
_RUN = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


@contextmanager
def put_in_place(output: str, inputs: Inputs, *, overwrite: bool, in_place: bool = False) -> Iterator[str]:
    """A path to write to while the block runs; what is there at its end is given the output's name.

    Args:
        output: The name.
        inputs: What is read, which must stay as it is meanwhile.
        overwrite: Replace what lies there.
        in_place: The output is the artifact itself, which is kept under another name.

    Raises:
        Refused: The output exists, is an input, or cannot be written, or an input changed; nothing was written.
    """
    check_output(output, [] if in_place else list(inputs.artifacts), overwrite=overwrite or in_place)
    if in_place:
        _require_free(output)
    with staging(output) as folder, told_of(folder, output):
        staged = os.path.join(folder, os.path.basename(output))
        with inputs.held(), Flushing(folder) as flushing:
            yield staged
            flushing.finish()
        if in_place:
            _keep_modes(staged, output)
        with _kept(output, folder) if in_place else nullcontext():
            publish(staged, output, overwrite=overwrite or in_place)


def backups_of(path: str) -> tuple[str, ...]:
    """What the files of an artifact are called, or its directory, once it was mended in place."""
    return tuple(map(_backup_of, existing(path)))


def _backup_of(path: str) -> str:
    return f"{path}{_BACKUP}"


def _require_free(path: str) -> None:
    """Refuses where a name of the originals is taken; a second link to the original is what a killed repair left.

    Raises:
        Refused: One is.
    """
    for each in existing(path):
        goal = _backup_of(each)
        if os.path.lexists(goal) and not (os.path.isfile(goal) and os.path.samefile(each, goal)):
            raise Refused(f"{os.path.basename(goal)} exists already, and is never overwritten: move it away", goal)


def _keep_modes(staged: str, output: str) -> None:
    """Lets those read a result who may read the original, and no others."""
    first = next(filter(os.path.exists, existing(output)), "")  # a link may lead nowhere
    folder, place = os.path.dirname(staged), os.path.dirname(output)
    for each in existing(staged) if first else ():
        inside = [os.path.join(below, name) for below, *names in os.walk(each) for name in (*names[0], *names[1])]
        for path in (each, *inside):
            _keep_mode(path, os.path.join(place, os.path.relpath(path, folder)), first)


def _keep_mode(path: str, original: str, otherwise: str) -> None:
    """The same for one file or directory; what is new has the mode of another."""
    if not os.path.islink(path):
        there = os.path.exists(original)
        mode = stat.S_IMODE(os.stat(original if there else otherwise).st_mode)
        os.chmod(path, mode | stat.S_IRWXU if os.path.isdir(path) else mode if there else mode & ~_RUN)


@contextmanager
def _kept(path: str, folder: str) -> Iterator[None]:
    """Keeps the originals under their other names; those that are in their place go again where the block fails."""
    made: dict[str, tuple[str, tuple[int, int]]] = {}
    try:
        for each in existing(path):
            goal = _backup_of(each)
            if not os.path.lexists(goal):
                _keep(each, goal, os.path.join(folder, _KEEPING))
                made[goal] = each, _identity(each)
        sync(os.path.dirname(path) or ".")
        yield
    except BaseException:
        for goal, (each, was) in made.items():
            # Ctrl-C may come when the result is in place already: then this is all that is left of the original.
            if not os.path.lexists(goal) or _identity(each) != was:
                continue
            if os.path.isdir(goal) and not os.path.islink(goal):
                shutil.rmtree(goal, ignore_errors=True)
            else:
                os.unlink(goal)
        raise


def _identity(path: str) -> tuple[int, int]:
    """Which file has a name; (0, 0) for none."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _keep(path: str, goal: str, aside: str) -> None:
    """Gives an original a second name: every file of a directory one of its own, and the directory its name last."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), goal)
        return
    if not os.path.isdir(path):
        link_file(path, goal)
        return
    for below, directories, files in os.walk(path):
        here = os.path.normpath(os.path.join(aside, os.path.relpath(below, path)))
        os.mkdir(here)
        _keep_mode(here, below, path)
        links = [name for name in directories if os.path.islink(os.path.join(below, name))]
        for name in (*files, *links):
            each, second = os.path.join(below, name), os.path.join(here, name)
            if os.path.islink(each):
                os.symlink(os.readlink(each), second)
            else:
                link_file(each, second)
    os.rename(aside, goal)


def named(output: str | os.PathLike[str]) -> str:
    """An output without a trailing slash, which only says that it is a directory."""
    return os.fspath(output).rstrip("/") or os.fspath(output)


def bytes_of(path: str, state: TrainingState | None) -> int:
    """Bytes of all files of an artifact, those among them that only its tensors lie in."""
    if state is None:
        return sum(map(os.path.getsize, files_of(path)))
    held = {getattr(variable.tensor.location, "path", path) for variable in state.variables}
    held |= {getattr(slot.tensor.location, "path", path) for each in state.optimizers for slot in each.slots}
    return sum(os.path.getsize(each) for each in {*files_of(path), *filter(os.path.isfile, held)})
