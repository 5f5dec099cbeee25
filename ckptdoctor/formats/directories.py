"""What a directory means: an artifact of several files, the latest checkpoint of a run, or all that lies in it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import reason
from ckptdoctor.errors import LimitExceeded, UnknownFormat, Unreachable, UnreadableArtifact, UsageProblem
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.keras import shard_map
from ckptdoctor.formats.locate import spoken
from ckptdoctor.formats.orbax.places import TEMPORARY
from ckptdoctor.formats.registry import claimed, endings, latest
from ckptdoctor.formats.single_files import SAVED_MODEL, SHARD, target_of
from ckptdoctor.formats.tensorflow import STATE_FILE
from ckptdoctor.formats.tensorflow import state_file as checkpoint_state
from ckptdoctor.state import Oddity

_LOOKED_INTO = 1000
MAX_LISTED = 1_000_000
"""Names in a directory: the state file of a longer one might be among those that are left out."""
_MOST_DIGITS = 20
_SHOWN = 5
_MODELS = endings(models=True)
_BACKUP = ("latest.weights.h5", "training_metadata.json")
"""What Keras 3's BackupAndRestore keeps in its directory."""
_BELOW = "checkpoints"
"""Where Lightning puts them in the directory of a run, and accelerate in that of a project."""
_CHIEF = "chief"
"""Where tf.keras' BackupAndRestore keeps its checkpoints, below its directory."""
_NUMBER = re.compile(r"(\d+)(?:\.(\d+))?")


def meant_by(given: str, path: str, *, everything: bool) -> tuple[Target, ...]:
    """The artifacts that a directory means.

    Args:
        given: What the user named.
        path: The same without a slash at its end.
        everything: All that lies in it, and in directories below.

    Raises:
        UnreadableArtifact: Nothing in it is an artifact that is known.
        UsageProblem: There are several, and nothing tells which is meant.
    """
    own = artifact_at(given, path)
    if own is not None:
        return (own,)
    names = listing(path)
    if everything:
        return tuple(_all_below(path, names))
    step = latest(given, path, names)
    if step is not None:
        return (step,)
    if state_file(path, names):
        found = from_state(given, path, names)
        if found is not None:
            return (found,)
    prefixes = _prefixes(path, names)
    if prefixes:
        return (_without_state_file(given, prefixes),)
    if storage.is_file(os.path.join(path, _CHIEF, STATE_FILE)):
        return meant_by(given, os.path.join(path, _CHIEF), everything=False)
    try:
        return (_newest(given, path, names),)
    except UnreadableArtifact:
        below = os.path.join(path, _BELOW)
        if _BELOW not in names or not storage.is_dir(below):
            raise
        inside = meant_by(given, below, everything=False)
        note = Oddity("P003", f"{path} keeps its checkpoints in {below}")
        return tuple(each._replace(oddities=(*each.oddities, note)) for each in inside)


def artifact_at(given: str, path: str) -> Target | None:
    """The artifact that a directory is; None for a directory that holds artifacts, or nothing."""
    there = set(listing(path))
    if there.intersection(SAVED_MODEL):
        return Target(given, path, "saved-model")
    if "config.json" in there and {"model.weights.h5", "model.weights.npz", "model.weights.json"} & there:
        return Target(given, path, "keras-archive")
    if there.issuperset(_BACKUP):
        return Target(given, os.path.join(path, _BACKUP[0]), "backup")
    if "variables.index" in there and os.path.basename(storage.absolute(path)) == "variables":
        above = os.path.dirname(path) or os.path.join(path, os.pardir)
        if set(listing(above)).intersection(SAVED_MODEL):
            return Target(given, above, "saved-model", (Oddity("P003", f"{path} is a part of the SavedModel {above}"),))
    return claimed(given, path, there)


# ------------------------------------------------------------------------------------------------------------ names


def listing(directory: str) -> list[str]:
    """The names in a directory, numbers in their order.

    Raises:
        UnreadableArtifact: It cannot be listed.
        LimitExceeded: It holds more than `MAX_LISTED`.
    """
    try:
        names = storage.names(directory, MAX_LISTED + 1)
    except OSError as error:
        raise Unreachable(f"the directory cannot be listed: {reason(error)}", directory) from error
    if len(names) > MAX_LISTED:
        raise LimitExceeded(
            f"the directory holds more than {MAX_LISTED:,} files: name the checkpoint that is meant", directory
        )
    return sorted(names, key=_natural)


@lru_cache(maxsize=1 << 16)  # a directory is listed by several who ask
def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key in which ckpt-9 comes before ckpt-10."""
    return tuple(
        (0, int(part)) if part.isascii() and part.isdigit() and len(part) < _MOST_DIGITS else (1, part)
        for part in re.split(r"(\d+)", name)
    )


def family(name: str) -> str:
    """A name without its numbers: `ckpt-1` and `ckpt-2` are saved one after the other."""
    return _NUMBER.sub("#", name)


def saved_order(path: str, stem: str) -> tuple[tuple[tuple[int, str], ...], float]:
    """Sorts a family by when it was saved: by the numbers in the name, else by the time of the file.

    A number may be the model's, the epoch, the step or the loss: the first that is not the same in all counts up. Files
    of one run are copied in any order, so that their times tell only where no number does.
    """
    numbers = tuple((int(whole), part) for whole, part in _NUMBER.findall(stem))
    there = path if storage.exists(path) else f"{path}.index"
    return numbers, 0.0 if numbers or not storage.exists(there) else storage.stat(there).st_mtime


def _prefixes(directory: str, names: list[str]) -> list[str]:
    return [os.path.join(directory, name.removesuffix(".index")) for name in names if name.endswith(".index")]


# ------------------------------------------------------------------------------------------------------- state files


def state_file(directory: str, names: Collection[str]) -> str | None:
    """The state file of a directory; None where there is none, or something else of that name."""
    path = os.path.join(directory, STATE_FILE)
    return path if STATE_FILE in names and not storage.is_dir(path) else None


def is_there(prefix: str) -> bool:
    """Whether `tf.train.latest_checkpoint` finds the files of a prefix: those of V2, or of V1, whole or sharded."""
    return storage.exists(f"{prefix}.index") or storage.is_file(prefix) or bool(storage.shards(prefix))


def from_state(given: str, path: str, names: list[str]) -> Target | None:
    """The checkpoint that the state file of a directory names as the latest, or another one, told; None if none.

    Raises:
        UnreadableArtifact: The state file is none, or names what is not here, and no other checkpoint is.
    """
    state = checkpoint_state.read_checkpoint_state(os.path.join(path, STATE_FILE))
    if not state.latest:
        return None
    prefix = checkpoint_state.resolve(state, state.latest)
    if is_there(prefix):
        astray = _astray(path, state.latest, prefix)
        if storage.exists(f"{prefix}.index"):
            return Target(given, prefix, "tf-checkpoint", astray)
        shards = storage.shards(prefix)
        return Target(given, prefix if storage.is_file(prefix) else min(shards), "tf-checkpoint-v1", astray)
    others = _prefixes(path, names)
    if not others:
        raise UnreadableArtifact(
            f"its state file names {state.latest!r}, which is not here, and no other checkpoint is", path, code="P001"
        )
    instead = os.path.basename(others[-1])
    oddity = Oddity("P001", f"the state file names {state.latest!r}, which is not here; {instead} is read instead")
    return Target(given, others[-1], "tf-checkpoint", (oddity,))


def _astray(directory: str, latest: str, found: str) -> tuple[Oddity, ...]:
    """What TensorFlow makes of the name in a state file, where that is not the checkpoint beside it."""
    theirs = latest if storage.is_absolute(latest) else os.path.join(directory, latest)
    if not storage.is_beside(theirs, directory):
        told = (
            f"which is not asked for from here: if it is there still, TensorFlow goes on from it, and not from "
            f"{os.path.basename(found)} beside the state file"
        )
    elif is_there(theirs):
        if storage.real(theirs) == storage.real(found):
            return ()
        told = f"of another directory: TensorFlow goes on from there; {os.path.basename(found)} beside it is read here"
    else:
        told = (
            f"which is not there: tf.train.latest_checkpoint returns None and training starts over; "
            f"{os.path.basename(found)} lies beside it (a moved run?)"
        )
    return (Oddity("P001", f"the state file names {latest!r}, {told}"),)


def _without_state_file(given: str, prefixes: list[str]) -> Target:
    latest = os.path.basename(prefixes[-1])
    if len(prefixes) > 1:
        told = f"no state file says which of {len(prefixes)} checkpoints is the latest: {latest} has the highest number"
    else:
        told = f"no state file names {latest}: tf.train.latest_checkpoint returns None, and training starts over"
    return Target(given, prefixes[-1], "tf-checkpoint", (Oddity("P001", told),))


# ------------------------------------------------------------------------------------------------- one among several


def _newest(given: str, path: str, names: list[str]) -> Target:
    """The one artifact in a directory without a checkpoint, or the newest of a row that was saved one by one."""
    from ckptdoctor.formats.foreign import recognise

    foreign = recognise(path, b"")
    if foreign:
        raise UnknownFormat(f"not an artifact that ckptdoctor reads: {foreign.sentence}", path)
    found = list(_all_in(path, names))
    if not found:
        raise UnknownFormat(_nothing_in(path, names), path)
    rows: dict[str, list[Target]] = {}
    for each in found:
        rows.setdefault(family(os.path.basename(each.path)), []).append(each)
    longest = sorted(rows.values(), key=len)[-2:]
    if len(longest) > 1 and len(longest[0]) == len(longest[1]):
        listed = ", ".join(os.path.basename(each.path) for each in found[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        raise UsageProblem(f"the directory holds {len(found)} artifacts ({listed}{more}): name one, or add --all", path)
    row = longest[-1]
    newest = max(row, key=lambda each: saved_order(each.path, os.path.basename(each.path)))
    note: tuple[Oddity, ...] = ()
    if len(found) > 1:
        name = os.path.basename(newest.path)
        told = (
            f"{len(found):,} artifacts lie here; {name} is the newest of {len(row):,} by their names; --all reads all"
        )
        note = (Oddity("P006", told),)
    return Target(given, newest.resolved, newest.reader, (*newest.oddities, *note))


def _nothing_in(path: str, names: list[str]) -> str:
    """Why a directory means no artifact, and which of its directories would."""
    below = [each for each in names[:_LOOKED_INTO] if storage.is_dir(os.path.join(path, each))]
    runs = [each for each in below if _holds_checkpoints(os.path.join(path, each))]
    if runs:
        more = ", …" if len(runs) > _SHOWN else ""
        return (
            "the directory holds no artifact itself, its directories do: "
            f"name one of {', '.join(runs[:_SHOWN])}{more}, or add --all"
        )
    return "the directory holds no artifact that is known" if names else "the directory is empty"


def _holds_checkpoints(directory: str) -> bool:
    try:
        there = listing(directory)
    except UnreadableArtifact:
        return False
    return STATE_FILE in there or any(name.endswith((".index", *_MODELS)) for name in there)


# --------------------------------------------------------------------------------------------------- all that is there


def _all_below(path: str, names: list[str]) -> list[Target]:
    """Every artifact in a directory and in those below it.

    Raises:
        UnknownFormat: There is none.
    """
    found = [each for _, targets in walk(path) for each in targets]
    if not found:
        raise UnknownFormat(_nothing_in(path, names), path)
    return found


def walk(path: str) -> Iterator[tuple[str, tuple[Target, ...]]]:
    """A directory and those below it, which links do not lead to, each with the artifacts that lie in it."""
    for directory in directories(path):
        found = lying_in(directory)
        if found:
            yield directory, found


def directories(path: str, told: Callable[[str, UnreadableArtifact], None] | None = None) -> Iterator[str]:
    """A directory and those below it that are no artifacts themselves.

    Links are not followed; hidden directories hold caches and histories, no runs.

    Args:
        path: The directory.
        told: Is told which of those below cannot be listed, and why; they are passed over.
    """
    names = listing(path)
    yield path
    levels = [(path, iter(names))]
    while levels:
        above, left = levels[-1]
        name = next(left, None)
        if name is None:
            levels.pop()
            continue
        full = os.path.join(above, name)
        if name.startswith(".") or storage.is_link(full) or not storage.is_folder(full):
            continue
        try:
            there = [] if artifact_at(full, full) else listing(full)
        except UnreadableArtifact as error:
            if told is not None:
                told(full, error)
            continue
        if there:
            yield full
            levels.append((full, iter(there)))


def lying_in(path: str) -> tuple[Target, ...]:
    """Every artifact that lies in a directory itself, or that its state file lists; none if it cannot be told."""
    try:
        return tuple(_all_in(path, listing(path)))
    except UnreadableArtifact:
        return ()


def _all_in(path: str, names: list[str]) -> Iterator[Target]:
    """Every artifact that lies in a directory, and those that its state file lists."""
    found = [target for each in candidates(path, names) if (target := lies_at(each)) is not None]
    yield from sorted(found, key=lambda each: _natural(each.path))


def candidates(path: str, names: list[str], *, listed: bool = True) -> list[str]:
    """What in a directory may be an artifact, by the names alone: of a TensorFlow checkpoint its index.

    Args:
        path: The directory.
        names: What lies in it.
        listed: Whether checkpoints elsewhere are among them that its state file lists.
    """
    listed_in = state_file(path, names)
    there = dict.fromkeys(_prefixes(path, names))
    if listed_in and listed:
        named = _named_by(listed_in)
        there = dict.fromkeys([each for each in named if storage.exists(f"{each}.index")] + list(there))
    found = [f"{prefix}.index" for prefix in there]
    for name in names:
        full = os.path.join(path, name)
        if full == listed_in or name.endswith((".index", ".meta")) or SHARD.match(name) or TEMPORARY in name:
            continue
        if shard_map.whole_of(full) is None:
            found.append(full)
    return found


def lies_at(candidate: str) -> Target | None:
    """The artifact that a candidate is; None where it is none."""
    if candidate.endswith(".index"):
        prefix = candidate.removesuffix(".index")
        return Target(spoken(prefix), prefix, "tf-checkpoint")
    try:
        return artifact_at(candidate, candidate) if storage.is_dir(candidate) else target_of(candidate, candidate)
    except UnreadableArtifact as error:
        # What is called a model and is none (empty, a Git LFS pointer) is reported, and what nobody could look into;
        # other files are none of ours.
        is_hidden = isinstance(error, (Unreachable, LimitExceeded))
        return Target(candidate, candidate, "unknown") if is_hidden or candidate.lower().endswith(_MODELS) else None


def _named_by(file: str) -> list[str]:
    """The prefixes that a state file lists; none if it is none, which is told by whoever asks what it names."""
    try:
        state = checkpoint_state.read_checkpoint_state(file)
    except UnreadableArtifact:
        return []
    return [checkpoint_state.resolve(state, each) for each in state.all]
