"""From what the user points at to the artifacts that are meant: files, prefixes, shards, directories."""

from __future__ import annotations

import errno
import os
import re

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile, reason
from ckptdoctor.errors import LimitExceeded, NoSuchPath, UnreadableArtifact
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.registry import claimed
from ckptdoctor.formats.tensorflow import STATE_FILE
from ckptdoctor.state import Oddity

_ALIKE = 0.75
"""How alike names have to be that one may be meant by the other; difflib's default takes `err.h5` for `nope.h5`."""

_INDEXES = (".safetensors.index.json", ".bin.index.json")
"""Which shard holds which weight, as Hugging Face's libraries write it down."""


def locate(path: str, *, everything: bool = False) -> tuple[Target, ...]:
    """Finds the artifacts that a path means.

    Args:
        path: A file; a SavedModel or `.keras` directory; a checkpoint prefix or any of its files; a shard of
            `.weights.json`; a directory with a `checkpoint` state file.
        everything: Of a directory, every artifact that its state file lists or that lies there or in directories below.

    Raises:
        NoSuchPath: Nothing is there.
        UsageProblem: Several artifacts are, and nothing tells which is meant.
        UnreadableArtifact: Something is there, but nothing that is known.
    """
    given = path = storage.named(os.fspath(path))
    if storage.is_dir(path):
        from ckptdoctor.formats.directories import meant_by

        return meant_by(given, path.rstrip("/") or path, everything=everything)
    if storage.exists(path):
        return (_file(given, path),)
    if storage.exists(f"{path}.index"):
        return (Target(given, path, "tf-checkpoint"),)
    shards = storage.shards(path)
    if shards:
        return (Target(given, shards[0], "tf-checkpoint-v1"),)
    data = storage.shards(path, ".data-")
    if data:
        raise UnreadableArtifact(
            f"{os.path.basename(path)}.index is missing; {os.path.basename(data[0])} cannot be read without it", path
        )
    try:
        storage.stat(path)
    except FileNotFoundError:
        if storage.lexists(path):
            raise UnreadableArtifact("is a link that leads nowhere", path) from None
    except NotADirectoryError:
        pass
    except OSError as error:  # a directory on the way may not be searched, links lead in a circle
        if error.errno == errno.ENAMETOOLONG:
            told = "no such file, directory or checkpoint prefix: the name is longer than a name can be"
            raise NoSuchPath(told, path) from None
        raise UnreadableArtifact(f"cannot be opened: {reason(error)}", path) from error
    raise NoSuchPath(_missing(path), path)


def spoken(path: str) -> str:
    """What a user has to say for an artifact: of a checkpoint its index, where a file has the name of its prefix."""
    index = f"{path}.index"
    return index if storage.is_file(index) and storage.is_file(path) else path


def _file(given: str, path: str) -> Target:
    from ckptdoctor.formats.single_files import target_of

    directory, name = os.path.split(path)
    if name == STATE_FILE:
        with RegularFile(path) as file:
            names_checkpoints = file.read(0, min(64, file.size)).lstrip().startswith(b"model_checkpoint_path")
        if names_checkpoints:
            from ckptdoctor.formats.directories import from_state, listing

            found = from_state(given, directory or ".", listing(directory or "."))
            if found is not None:
                return found
    if name.endswith(_INDEXES):
        from ckptdoctor.formats.directories import listing

        whole = claimed(given, directory or ".", frozenset(listing(directory or ".")))
        if whole is not None:
            told = f"{name} is the index of shards; the artifact is {directory or '.'}"
            return whole._replace(oddities=(*whole.oddities, Oddity("P003", told)))
    target = target_of(given, path)
    if target.resolved == path and target.reader != "tf-checkpoint" and storage.exists(f"{path}.index"):
        told = f"{name}.index beside it is a checkpoint of the same name, which TensorFlow loads: name it to read that"
        return target._replace(oddities=(*target.oddities, Oddity("P004", told)))
    return target


def _missing(path: str) -> str:
    directory = os.path.dirname(path) or "."
    if storage.is_remote(path) and not storage.is_dir(directory):
        return "nothing is at this URL, and no checkpoint has it as its prefix"
    if not storage.is_dir(directory):
        return f"no such file, directory or checkpoint prefix; there is no directory {directory!r} either"
    from difflib import get_close_matches

    from ckptdoctor.formats.directories import listing

    try:
        listed = listing(directory)[:1000]
    except LimitExceeded:
        listed = []
    names = {re.sub(r"\.(index|data-\d+-of-\d+)\Z", "", name) for name in listed}
    near = get_close_matches(os.path.basename(path), sorted(names), n=3, cutoff=_ALIKE)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"no such file, directory or checkpoint prefix{hint}"
