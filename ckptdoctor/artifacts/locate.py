"""From what the user points at to the artifacts that are meant: files, prefixes, shards, directories."""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Callable, Collection
from itertools import islice
from typing import NamedTuple

from ckptdoctor.artifacts import shard_map
from ckptdoctor.containers import checkpoint_state
from ckptdoctor.containers.files import RegularFile, reason
from ckptdoctor.containers.sstable import FOOTER, is_table
from ckptdoctor.errors import LimitExceeded, UnknownFormat, UnreadableArtifact, UsageProblem
from ckptdoctor.state import Format, Oddity, TrainingState

_SHARD = re.compile(r"(?P<prefix>.*)\.data-\d{5}-of-\d{5}\Z", re.DOTALL)
_V1_SHARD = re.compile(r".*-\d{5}-of-\d{5}\Z", re.DOTALL)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_HEAD = 4096
_LOOKED_INTO = 1000
_ALIKE = 0.75
"""How alike names have to be that one may be meant by the other; difflib's default takes `err.h5` for `nope.h5`."""
MAX_LISTED = 1_000_000
"""Names in a directory: the state file of a longer one might be among those that are left out."""
_MOST_DIGITS = 20
_SHOWN = 5
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_MODELS = (".keras", ".h5", ".hdf5", ".ckpt")


class Target(NamedTuple):
    """One artifact to read.

    Attributes:
        path: What the user gave, or what was found below it.
        resolved: The file, directory or prefix that is read.
        reader: Name of the reader in `READERS`.
        oddities: What was noticed on the way.
    """

    path: str
    resolved: str
    reader: str
    oddities: tuple[Oddity, ...] = ()


def _saved_model(path: str) -> TrainingState:
    from ckptdoctor.artifacts import saved_model

    return saved_model.read(path)


def _tf_checkpoint(path: str) -> TrainingState:
    from ckptdoctor.artifacts import tf_checkpoint

    return tf_checkpoint.read(path)


def _tf_checkpoint_v1(path: str) -> TrainingState:
    from ckptdoctor.artifacts import tf_checkpoint

    return tf_checkpoint.read_v1_checkpoint(path)


def _hdf5(path: str) -> TrainingState:
    from ckptdoctor.artifacts import hdf5_file

    return hdf5_file.read(path)


def _keras_archive(path: str) -> TrainingState:
    from ckptdoctor.artifacts import keras_archive

    return keras_archive.read(path)


def _keras_weights(path: str) -> TrainingState:
    from ckptdoctor.artifacts import keras_weights

    return keras_weights.read(path)


def _optimizer_dump(path: str) -> TrainingState:
    from ckptdoctor.artifacts import optimizer_dump

    return optimizer_dump.read(path)


def _unknown(path: str) -> TrainingState:
    return READERS[_file(path, path).reader](path)  # says why it is not known


READERS: dict[str, Callable[[str], TrainingState]] = {
    "saved-model": _saved_model,
    "tf-checkpoint": _tf_checkpoint,
    "tf-checkpoint-v1": _tf_checkpoint_v1,
    "hdf5": _hdf5,
    "keras-archive": _keras_archive,
    "keras-weights": _keras_weights,
    "optimizer-dump": _optimizer_dump,
    "unknown": _unknown,
}
"""Every artifact that can be read. Modules are imported by the first that needs them."""

READ_BY_LIBHDF5 = frozenset({"hdf5", "keras-archive", "keras-weights"})
"""Readers that call HDF5's library, which crashes on some corrupt files."""
HDF5_FORMATS = frozenset({Format.KERAS_H5, Format.KERAS_H5_WEIGHTS, Format.KERAS_ARCHIVE, Format.KERAS_WEIGHTS})
"""What they read."""


def locate(path: str, *, everything: bool = False) -> tuple[Target, ...]:
    """Finds the artifacts that a path means.

    Args:
        path: A file; a SavedModel or `.keras` directory; a checkpoint prefix or any of its files; a shard of
            `.weights.json`; a directory with a `checkpoint` state file.
        everything: Of a directory, every artifact that its state file lists or that lies there.

    Raises:
        UsageProblem: Nothing is there.
        UnreadableArtifact: Something is there, but nothing that is known.
    """
    given = path
    path = os.fspath(path)
    trimmed = path.rstrip("/") or path
    if os.path.isdir(path):
        return _directory(given, trimmed, everything=everything)
    if os.path.exists(path):
        return (_file(given, path),)
    if os.path.exists(f"{path}.index"):
        return (Target(given, path, "tf-checkpoint"),)
    shards = sorted(glob.glob(f"{glob.escape(path)}-?????-of-?????"))
    if shards:
        return (Target(given, shards[0], "tf-checkpoint-v1"),)
    data = sorted(glob.glob(f"{glob.escape(path)}.data-?????-of-?????"))
    if data:
        raise UnreadableArtifact(
            f"{os.path.basename(path)}.index is missing; {os.path.basename(data[0])} cannot be read without it", path
        )
    try:
        os.stat(path)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise UnreadableArtifact("is a link that leads nowhere", path) from None
    except NotADirectoryError:
        pass
    except OSError as error:  # a directory on the way may not be searched, links lead in a circle
        if error.errno == errno.ENAMETOOLONG:
            told = "no such file, directory or checkpoint prefix: the name is longer than a name can be"
            raise UsageProblem(told, path) from None
        raise UnreadableArtifact(f"cannot be opened: {reason(error)}", path) from error
    raise UsageProblem(f"{_missing(path)}", path)


def _missing(path: str) -> str:
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        return f"no such file, directory or checkpoint prefix; there is no directory {directory!r} either"
    from difflib import get_close_matches

    try:
        listed = listing(directory)[:1000]
    except LimitExceeded:
        listed = []
    names = {re.sub(r"\.(index|data-\d+-of-\d+)\Z", "", name) for name in listed}
    near = get_close_matches(os.path.basename(path), sorted(names), n=3, cutoff=_ALIKE)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"no such file, directory or checkpoint prefix{hint}"


def listing(directory: str) -> list[str]:
    """The names in a directory, numbers in their order.

    Raises:
        UnreadableArtifact: It cannot be listed.
        LimitExceeded: It holds more than `MAX_LISTED`.
    """
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, MAX_LISTED + 1)]
    except OSError as error:
        raise UnreadableArtifact(f"the directory cannot be listed: {reason(error)}", directory) from error
    if len(names) > MAX_LISTED:
        raise LimitExceeded(
            f"the directory holds more than {MAX_LISTED:,} files: name the checkpoint that is meant", directory
        )
    return sorted(names, key=_natural)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A sort key in which ckpt-9 comes before ckpt-10."""
    return [
        (0, int(part)) if part.isascii() and part.isdigit() and len(part) < _MOST_DIGITS else (1, part)
        for part in re.split(r"(\d+)", name)
    ]


def _prefixes(directory: str, names: list[str]) -> list[str]:
    return [os.path.join(directory, name.removesuffix(".index")) for name in names if name.endswith(".index")]


def lies_in(path: str) -> str | None:
    """The reader of an artifact that is a directory; None for a directory that holds artifacts, or nothing."""
    there = set(listing(path))
    if there.intersection(_SAVED_MODEL):
        return "saved-model"
    if "config.json" in there and {"model.weights.h5", "model.weights.npz", "model.weights.json"} & there:
        return "keras-archive"
    return None


def _directory(given: str, path: str, *, everything: bool) -> tuple[Target, ...]:
    reader = lies_in(path)
    if reader is not None:
        return (Target(given, path, reader),)
    names = listing(path)
    there = set(names)
    if everything:
        return _all_in(path, names)
    if state_file(path, there):
        found = _from_state(given, path, names)
        if found is not None:
            return (found,)
    prefixes = _prefixes(path, names)
    if prefixes:
        note: tuple[Oddity, ...] = ()
        if len(prefixes) > 1:
            note = (
                Oddity(
                    "P001",
                    f"no state file says which of {len(prefixes)} checkpoints is the latest: "
                    f"{os.path.basename(prefixes[-1])} has the highest number",
                ),
            )
        return (Target(given, prefixes[-1], "tf-checkpoint", note),)
    return _lonely(given, path, names)


def state_file(directory: str, names: Collection[str]) -> str | None:
    """The state file of a directory; None where there is none, or something else of that name."""
    path = os.path.join(directory, checkpoint_state.NAME)
    return path if checkpoint_state.NAME in names and not os.path.isdir(path) else None


def _from_state(given: str, path: str, names: list[str]) -> Target | None:
    state = checkpoint_state.read_checkpoint_state(os.path.join(path, checkpoint_state.NAME))
    if not state.latest:
        return None
    prefix = checkpoint_state.resolve(state, state.latest)
    if os.path.exists(f"{prefix}.index"):
        return Target(given, prefix, "tf-checkpoint")
    if os.path.isfile(prefix) or glob.glob(f"{glob.escape(prefix)}-?????-of-?????"):
        first = prefix if os.path.isfile(prefix) else min(glob.glob(f"{glob.escape(prefix)}-?????-of-?????"))
        return Target(given, first, "tf-checkpoint-v1")
    others = _prefixes(path, names)
    if not others:
        raise UnreadableArtifact(
            f"its state file names {state.latest!r}, which is not here, and no other checkpoint is",
            path,
            code="P001",
        )
    oddity = Oddity(
        "P001",
        f"the state file names {state.latest!r}, which is not here; {os.path.basename(others[-1])} is read instead",
    )
    return Target(given, others[-1], "tf-checkpoint", (oddity,))


def _lonely(given: str, path: str, names: list[str]) -> tuple[Target, ...]:
    """A directory without a checkpoint: the one artifact in it, if there is one."""
    from ckptdoctor.artifacts.foreign import recognise

    foreign = recognise(path, b"")
    if foreign:
        raise UnknownFormat(f"not an artifact that ckptdoctor reads: {foreign.sentence}", path)
    found = _all_in(path, names, strict=False)
    if len(found) == 1:
        only = found[0]
        return (Target(given, only.resolved, only.reader, only.oddities),)
    if found:
        listed = ", ".join(os.path.basename(each.path) for each in found[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        raise UnknownFormat(
            f"the directory holds {len(found)} artifacts ({listed}{more}): name one, or add --all", path
        )
    raise UnknownFormat(_nothing_in(path, names), path)


def _nothing_in(path: str, names: list[str]) -> str:
    """Why a directory means no artifact, and which of its directories would."""
    below = [each for each in names[:_LOOKED_INTO] if os.path.isdir(os.path.join(path, each))]
    runs = [each for each in below if _holds_checkpoints(os.path.join(path, each))]
    if runs:
        more = ", …" if len(runs) > _SHOWN else ""
        return (
            f"the directory holds no artifact itself, its directories do: name one of {', '.join(runs[:_SHOWN])}{more}"
        )
    return "the directory holds no artifact that is known" if names else "the directory is empty"


def _holds_checkpoints(directory: str) -> bool:
    try:
        there = listing(directory)
    except UnreadableArtifact:
        return False
    return checkpoint_state.NAME in there or any(name.endswith((".index", *_MODELS)) for name in there)


def _all_in(path: str, names: list[str], *, strict: bool = True) -> tuple[Target, ...]:
    """Every artifact that lies in a directory, and those that its state file lists."""
    found: dict[str, Target] = {}
    listed_in = state_file(path, names)
    if listed_in:
        state = checkpoint_state.read_checkpoint_state(listed_in)
        for listed in state.all:
            prefix = checkpoint_state.resolve(state, listed)
            if os.path.exists(f"{prefix}.index"):
                found[prefix] = Target(prefix, prefix, "tf-checkpoint")
    for prefix in _prefixes(path, names):
        found.setdefault(prefix, Target(prefix, prefix, "tf-checkpoint"))
    for name in names:
        full = os.path.join(path, name)
        if full == listed_in or name.endswith((".index", ".meta")) or _SHARD.match(name):
            continue
        if shard_map.whole_of(full) is not None:
            continue
        try:
            if os.path.isdir(full):
                reader = lies_in(full)
                if reader is not None:
                    found[full] = Target(full, full, reader)
                continue
            found[full] = _file(full, full)
        except UnreadableArtifact:
            # What is called a model and is none (empty, a Git LFS pointer) is reported; other files are none of ours.
            if name.lower().endswith(_MODELS):
                found[full] = Target(full, full, "unknown")
    if not found and strict:
        raise UnknownFormat(_nothing_in(path, names), path)
    return tuple(sorted(found.values(), key=lambda each: _natural(each.path)))


def _file(given: str, path: str) -> Target:
    with RegularFile(path) as file:
        head = file.read(0, min(_HEAD, file.size))
        tail = file.read(max(file.size - FOOTER, 0), min(FOOTER, file.size))
        signature = _hdf5_at(file)
    name = os.path.basename(path)
    shard = _SHARD.match(path)
    if shard and os.path.exists(f"{shard['prefix']}.index"):
        prefix = shard["prefix"]
        return Target(
            given, prefix, "tf-checkpoint", (Oddity("P003", f"{name} is a data file; the checkpoint is {prefix}"),)
        )
    whole = shard_map.whole_of(path)
    if whole is not None:
        return Target(given, whole, "keras-weights", (Oddity("P003", f"{name} is a shard; the weights are {whole}"),))
    if is_table(tail):
        return _table(given, path)
    if signature:
        return Target(given, path, "hdf5")
    from ckptdoctor.artifacts import foreign, sniff

    reader = sniff.sniff(path, head)
    if reader is not None:
        return Target(given, path, reader)
    if name == checkpoint_state.NAME and head.lstrip().startswith(b"model_checkpoint_path"):
        found = _from_state(given, os.path.dirname(path) or ".", listing(os.path.dirname(path) or "."))
        if found is not None:
            return found
    if name in _SAVED_MODEL:
        directory = os.path.dirname(path) or "."
        note = Oddity("P003", f"{name} is the graph of a SavedModel; the SavedModel is {directory}")
        return Target(given, directory, "saved-model", (note,))
    if path.endswith(".index"):
        with RegularFile(path) as file:
            from ckptdoctor.containers.sstable import Table

            Table(file)  # says what is wrong with it
    named = foreign.recognise(path, head)
    if named:
        code = "I001" if named.artifact else "I008"
        raise UnknownFormat(f"not an artifact that ckptdoctor reads: {named.sentence}", path, code=code)
    if shard:
        index = f"{os.path.basename(shard['prefix'])}.index"
        raise UnreadableArtifact(f"{index} is missing, without which a checkpoint's data file cannot be read", path)
    raise UnknownFormat("it is of no format that is known", path)


def _hdf5_at(file: RegularFile) -> bool:
    """HDF5's signature stands at 0, or at 512, 1024, 2048, … after a user block; in a zip archive its member's may."""
    offset = 0
    while offset + len(_HDF5) <= min(file.size, 1 << 20):
        if file.read(offset, len(_HDF5)) == _HDF5:
            return offset == 0 or file.read(0, len(_ZIP)) != _ZIP
        offset = offset * 2 or 512
    return False


def _table(given: str, path: str) -> Target:
    """An index of a V2 checkpoint, or a V1 checkpoint: both are tables, their first entry tells which."""
    from ckptdoctor.containers.protos import checkpoint_pb2 as pb
    from ckptdoctor.containers.sstable import Table

    if path.endswith(".index"):
        return Target(given, path.removesuffix(".index"), "tf-checkpoint")
    with RegularFile(path) as file:
        for key, offset, size in Table(file).spans():
            if key == b"" and size < _HEAD:
                header = file.read(offset, size)
                try:
                    is_bundle = pb.BundleHeader.FromString(header).num_shards > 0
                except Exception:  # noqa: BLE001 - any failure to parse says that it is the other kind
                    is_bundle = False
                if is_bundle:
                    raise UnreadableArtifact(
                        "it is the index of a TensorFlow checkpoint under another name: call it PREFIX.index, "
                        "beside its PREFIX.data-* files",
                        path,
                    )
            break
    return Target(given, path, "tf-checkpoint-v1")
