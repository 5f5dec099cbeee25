"""A place beside the output where the result is built, and the step that puts it in its place.

Nothing appears under the output's name before it is complete. A staging folder holds a lock while its process lives;
one that a killed process left behind has none, and the next graft beside it clears it away. An output of several files
is put in place by hard links, so that an abandoned folder tells which files of a half-placed output are its own.
"""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import reason
from ckptdoctor.errors import CkptDoctorError, GraftRefused, Refused
from ckptdoctor.formats.locate import locate
from ckptdoctor.grafting.building.flushing import fsync_path

_LOCK = "lock"
_REPLACED = ".replaced"
_IN_ARTIFACTS = ("saved_model.pb", "config.json", "_CHECKPOINT_METADATA", "_METADATA")
"""Files of directories that are artifacts as a whole, in which nothing else belongs."""
_SHARDED = ".weights.json"
_NO_NAMES = ("", ".", "..")
_TRIES = 10
_GRACE = 60.0
"""Seconds that a process may take between making its folder and locking it."""


def check_output(output: str, inputs: list[str], *, overwrite: bool, clear: bool = True) -> None:
    """Refuses outputs that exist, that are an input, that lie inside one, or that hold one or anything else.

    Args:
        output: The path to write.
        inputs: What is read.
        overwrite: What lies at the output may be replaced.
        clear: What a killed graft left behind there may be cleared away.

    Raises:
        GraftRefused: With the reason, before anything is written.
    """
    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise GraftRefused(f"the directory {directory!r} does not exist", output)
    if os.path.basename(output.rstrip("/")) in _NO_NAMES:
        raise GraftRefused(f"OUT is {output!r}, which is no name for what is written: name a path", output)
    out = os.path.realpath(output)
    for each in inputs:
        real = os.path.realpath(each)
        if out == real:
            raise GraftRefused("OUT is one of the inputs, which are never written to: name another path", output)
        if os.path.isdir(real) and out.startswith(real + os.sep) and _is_artifact(real):
            raise GraftRefused("OUT lies inside an input, which is never written to: name another path", output)
        if real.startswith(out + os.sep):
            raise GraftRefused(f"OUT is a directory that holds the input {each}: name another path", output)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise GraftRefused(
            f"{directory!r} cannot be written to (permission denied): name an OUT in another directory", output
        )
    if _is_special(output):
        raise GraftRefused("OUT is a device or a pipe, which is never replaced: name a file", output)
    taken = existing(output)
    if taken and not overwrite and clear:
        _clear_abandoned(directory)  # a killed graft may have come as far as a part of its output
        taken = existing(output)
    if taken and not overwrite:
        raise GraftRefused(
            f"{os.path.basename(taken[0])} exists already: name another path, or add --overwrite", output
        )
    if os.path.isdir(output) and not (os.path.islink(output) or f"{output}.index" in taken or _is_one(output)):
        raise GraftRefused(
            "OUT is a directory that is not one artifact and nothing else, and what it holds would be lost: name a "
            "path in it, or remove it yourself",
            output,
        )


def _is_one(directory: str) -> bool:
    """Whether a directory is an artifact, or nothing but one is in it, or nothing at all."""
    if not os.listdir(directory):
        return True
    try:
        (found,) = locate(directory)
    except (CkptDoctorError, ValueError):
        return False
    while os.path.realpath(directory) != os.path.realpath(found.resolved):
        inside = [os.path.join(directory, name) for name in os.listdir(directory)]
        if len(inside) != 1 or not os.path.isdir(inside[0]):
            return False
        (directory,) = inside
    return True


def _is_special(path: str) -> bool:
    """Whether something is neither a file nor a directory: a device, a pipe."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _is_artifact(directory: str) -> bool:
    return any(os.path.exists(os.path.join(directory, name)) for name in _IN_ARTIFACTS)


def existing(output: str) -> list[str]:
    """What already lies under an output's name: a file, a directory, files with shards, what lists the others first."""
    found = [each for each in (output, f"{output}.index") if os.path.lexists(each)]
    if output.endswith(_SHARDED):
        return found + sorted(glob.glob(f"{glob.escape(output.removesuffix(_SHARDED))}_?????.weights.h5"))
    return found + sorted(glob.glob(f"{glob.escape(output)}.data-?????-of-?????"))


@contextmanager
def staging(output: str) -> Iterator[str]:
    """A locked folder beside `output`, gone when the block ends, whatever ends it.

    Raises:
        GraftRefused: The directory cannot be written to.
    """
    directory = os.path.dirname(output) or "."
    _clear_abandoned(directory)
    for _ in range(_TRIES):
        folder = os.path.join(directory, f"{storage.STAGED}{os.urandom(6).hex()}")
        lock = None
        try:
            try:
                os.mkdir(folder, 0o700)
                lock = os.open(os.path.join(folder, _LOCK), os.O_CREAT | os.O_RDWR, 0o600)
            except OSError as error:
                raise GraftRefused(
                    f"{directory!r} cannot be written to ({reason(error)}): name an OUT in another directory", output
                ) from error
            if _try_lock(lock, wait=True) and not os.path.exists(os.path.join(folder, _LOCK)):
                continue  # another graft took it for abandoned before it was locked
            yield folder
            return
        finally:
            _remove(folder)
            if lock is not None:
                os.close(lock)
    raise GraftRefused(f"{directory!r} is cleared by others all the time: name an OUT in another directory", output)


def _remove(folder: str) -> None:
    """Removes a folder, even if Ctrl-C comes meanwhile."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _try_lock(descriptor: int, *, wait: bool = False) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: an abandoned folder stays until someone removes it
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _clear_abandoned(directory: str) -> None:
    for folder in glob.glob(os.path.join(glob.escape(directory), f"{storage.STAGED}*")):
        with suppress(OSError):
            try:
                descriptor = os.open(os.path.join(folder, _LOCK), os.O_RDWR)
            except FileNotFoundError:  # killed before it was locked, or while it was removed
                if time.time() - os.stat(folder).st_mtime > _GRACE:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                if _try_lock(descriptor):
                    _undo(folder)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _undo(folder: str) -> None:
    """Takes back what of a staging folder's output is in place already, unless all of it is."""
    directory = os.path.dirname(folder)
    staged = [name for name in os.listdir(folder) if name != _LOCK and not name.endswith(_REPLACED)]
    if all(os.path.lexists(os.path.join(directory, name)) for name in staged):
        return
    for name in sorted(staged, reverse=True):  # an index before its data
        _take_back(os.path.join(folder, name), os.path.join(directory, name))
    _restore(folder, directory)


def publish(staged: str, output: str, *, overwrite: bool) -> None:
    """Moves what was built into place: a file, a directory, or several files, the one that lists the others last.

    Whatever interrupts it, either all of the output is in place afterwards or nothing is.

    Raises:
        GraftRefused: Something appeared under the output's name in the meantime.
    """
    directory = os.path.dirname(output) or "."
    folder = os.path.dirname(staged)
    if os.path.isdir(staged):
        _move_directory(staged, output, overwrite=overwrite)
    elif os.path.exists(f"{staged}.index"):
        data = sorted(glob.glob(f"{glob.escape(staged)}.data-?????-of-?????"))
        old = [each for each in existing(output) if overwrite and each != output]  # the index before its data
        _move_files([*data, f"{staged}.index"], directory, old)
    else:
        # The shards of a sharded file come before the file that lists them.
        extra = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name != _LOCK]
        extra.remove(staged)
        if extra or not overwrite:
            files = [*extra, staged]
            goals = [os.path.join(directory, os.path.basename(each)) for each in reversed(files)]
            _move_files(files, directory, [each for each in goals if overwrite and os.path.lexists(each)])
        else:
            _replace(staged, output)
    sync(directory)


def _move_files(files: Sequence[str], directory: str, old: Sequence[str]) -> None:
    """Puts files into a directory in this order, after the old ones went aside, in theirs."""
    folder = os.path.dirname(files[0])
    placed: list[tuple[str, str]] = []
    try:
        for path in old:
            _replace(path, os.path.join(folder, os.path.basename(path) + _REPLACED))
        for source in files:
            goal = os.path.join(directory, os.path.basename(source))
            placed.append((source, goal))
            try:
                if not _link(source, goal):
                    _replace(source, goal)
            except GraftRefused:
                placed.pop()
                raise
    except BaseException:
        for source, goal in reversed(placed):
            with suppress(OSError):
                _take_back(source, goal)
        with suppress(OSError):
            _restore(folder, directory)
        raise


def _take_back(source: str, goal: str) -> None:
    """Undoes what `_link` or `_replace` did, as far as it did."""
    if not os.path.lexists(source):
        os.rename(goal, source)
    elif os.path.lexists(goal) and os.path.samefile(source, goal):
        os.unlink(goal)


def _restore(folder: str, directory: str) -> None:
    """Puts what went aside back into its place."""
    for name in sorted(os.listdir(folder)):  # data before its index
        goal = os.path.join(directory, name.removesuffix(_REPLACED))
        if name.endswith(_REPLACED) and not os.path.lexists(goal):
            os.rename(os.path.join(folder, name), goal)


def _link(source: str, goal: str) -> bool:
    """Gives a staged file its place too, unless something is there; False where the system has no hard links."""
    try:
        os.link(source, goal)
    except OSError as error:
        if os.path.lexists(goal):
            raise _appeared(goal) from error
        return False
    return True


def _appeared(goal: str) -> GraftRefused:
    return GraftRefused(f"{os.path.basename(goal)} appeared meanwhile; it was left alone: name another path", goal)


def _replace(source: str, goal: str) -> None:
    try:
        os.replace(source, goal)
    except OSError as error:
        raise GraftRefused(f"{os.path.basename(goal)} cannot be put in place: {reason(error)}", goal) from error


def _move_directory(source: str, goal: str, *, overwrite: bool) -> None:
    aside = f"{source}{_REPLACED}"
    try:
        if overwrite and os.path.lexists(goal):
            os.rename(goal, aside)
        os.rename(source, goal)
    except BaseException as error:
        if os.path.lexists(aside) and not os.path.lexists(goal):
            os.rename(aside, goal)
        if not isinstance(error, OSError):
            raise
        if os.path.lexists(goal) and os.path.lexists(source):
            raise _appeared(goal) from error
        raise GraftRefused(f"{os.path.basename(goal)} cannot be put in place: {reason(error)}", goal) from error


def sync(path: str) -> None:
    """Makes a directory's entries durable, where the system can."""
    with suppress(OSError):
        fsync_path(path)


@contextmanager
def told_of(folder: str, output: str, kind: type[Refused] = Refused) -> Iterator[None]:
    """Says in one sentence what an error means for the output; what is wrong with an input stays its own error.

    Args:
        folder: The staging directory.
        output: The output's name.
        kind: What is raised; one that is already of this kind stays as it is.

    Raises:
        Refused: Writing failed, or what was written cannot be read back.
    """
    try:
        yield
    except (OSError, CkptDoctorError) as error:
        if not os.path.exists(folder):
            why = "its directory was removed while it was written"
        elif isinstance(error, OSError):
            why = f"writing failed ({reason(error)})"
        elif not isinstance(error, kind) and (error.path or "").startswith(folder):
            why = f"what was written cannot be read back ({error})"
        else:
            raise
        raise kind(f"{why}; nothing is left behind. Free some space or name another OUT", output) from error
