"""A place beside the output where the result is built, and the step that puts it in its place.

Nothing appears under the output's name before it is complete. A staging folder holds a lock while its process lives;
one that a killed process left behind has none, and the next graft beside it clears it away.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ckptdoctor.containers.files import reason
from ckptdoctor.errors import GraftRefused

_MARK = ".ckptdoctor-"
_LOCK = "lock"


def check_output(output: str, inputs: list[str], *, overwrite: bool) -> None:
    """Refuses outputs that exist, that are an input, or that lie inside one.

    Raises:
        GraftRefused: With the reason, before anything is written.
    """
    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise GraftRefused(f"the directory {directory!r} does not exist", output)
    out = os.path.realpath(output)
    for each in inputs:
        real = os.path.realpath(each)
        if out == real:
            raise GraftRefused("OUT is one of the inputs, which are never written to: name another path", output)
        if os.path.isdir(real) and out.startswith(real + os.sep) and _is_artifact(real):
            raise GraftRefused("OUT lies inside an input, which is never written to: name another path", output)
    taken = existing(output)
    if taken and not overwrite:
        raise GraftRefused(
            f"{os.path.basename(taken[0])} exists already: name another path, or add --overwrite", output
        )


def _is_artifact(directory: str) -> bool:
    return any(os.path.exists(os.path.join(directory, name)) for name in ("saved_model.pb", "config.json"))


def existing(output: str) -> list[str]:
    """What already lies under an output's name: a file, a directory, or a checkpoint's index and data files."""
    found = [output] if os.path.lexists(output) else []
    found += [f"{output}.index"] if os.path.lexists(f"{output}.index") else []
    return found + sorted(glob.glob(f"{glob.escape(output)}.data-?????-of-?????"))


@contextmanager
def staging(output: str) -> Iterator[str]:
    """A locked folder beside `output`, gone when the block ends, whatever ends it.

    Raises:
        GraftRefused: The directory cannot be written to.
    """
    directory = os.path.dirname(output) or "."
    _clear_abandoned(directory)
    folder = os.path.join(directory, f"{_MARK}{secrets.token_hex(6)}")
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        raise GraftRefused(f"{directory!r} cannot be written to: {reason(error)}", output) from error
    lock = os.open(os.path.join(folder, _LOCK), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _try_lock(lock)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: an abandoned folder stays until someone removes it
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _clear_abandoned(directory: str) -> None:
    for folder in glob.glob(os.path.join(glob.escape(directory), f"{_MARK}*")):
        lock = os.path.join(folder, _LOCK)
        with suppress(OSError):
            descriptor = os.open(lock, os.O_RDWR)
            try:
                if _try_lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def publish(staged: str, output: str, *, overwrite: bool) -> None:
    """Moves what was built into place: a file, a directory, or the files of a checkpoint, the index last.

    Raises:
        GraftRefused: Something appeared under the output's name in the meantime.
    """
    directory = os.path.dirname(output) or "."
    if os.path.exists(f"{staged}.index"):
        for data in sorted(glob.glob(f"{glob.escape(staged)}.data-?????-of-?????")):
            _move(data, output + data[len(staged) :], overwrite=overwrite)
        _move(f"{staged}.index", f"{output}.index", overwrite=overwrite)
    elif os.path.isdir(staged):
        _move_directory(staged, output, overwrite=overwrite)
    else:
        for extra in sorted(os.listdir(os.path.dirname(staged))):
            # The shards of a sharded file come before the file that lists them.
            if extra not in {_LOCK, os.path.basename(staged)}:
                _move(os.path.join(os.path.dirname(staged), extra), os.path.join(directory, extra), overwrite=overwrite)
        _move(staged, output, overwrite=overwrite)
    sync(directory)


def _move(source: str, goal: str, *, overwrite: bool) -> None:
    try:
        if overwrite:
            os.replace(source, goal)
        else:
            os.link(source, goal)  # fails, atomically, if the goal exists
            os.unlink(source)
    except FileExistsError as error:
        raise GraftRefused(
            f"{os.path.basename(goal)} appeared while the graft was made; it was left alone", goal
        ) from error
    except OSError as error:
        if overwrite:
            raise GraftRefused(f"{os.path.basename(goal)} cannot be put in place: {reason(error)}", goal) from error
        if os.path.lexists(goal):
            raise GraftRefused(f"{os.path.basename(goal)} appeared while the graft was made", goal) from error
        os.replace(source, goal)  # a file system without hard links


def _move_directory(source: str, goal: str, *, overwrite: bool) -> None:
    aside = f"{source}.replaced"
    try:
        if overwrite and os.path.lexists(goal):
            os.rename(goal, aside)
        os.rename(source, goal)
    except OSError as error:
        if os.path.lexists(aside) and not os.path.lexists(goal):
            os.rename(aside, goal)
        raise GraftRefused(f"{os.path.basename(goal)} cannot be put in place: {reason(error)}", goal) from error


def sync(path: str) -> None:
    """Makes a directory's entries durable, where the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
