"""Looks into a run directory: what its state file names, what lies there, and how far each of it has got."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from ckptdoctor.artifacts.locate import Target, lies_in, listing, state_file
from ckptdoctor.containers import checkpoint_state
from ckptdoctor.diagnosis.run_directory import Member, RunDirectory
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.examination import Examination, examine_target

MOST_MEMBERS = 1000
"""So many artifacts of a directory are looked into, those with the highest numbers."""

_SUFFIXES = (".weights.h5", ".weights.json", ".keras", ".hdf5", ".h5", ".pickle", ".pkl", ".npz", ".npy")
_NUMBER = re.compile(r"(\d+)(?:\.(\d+))?")
_SHARD = re.compile(r"(?P<prefix>.+)\.data-\d{5}-of-\d{5}\Z", re.DOTALL)
_TEMPORARY = re.compile(
    r".+\.tempstate\d+\Z"  # BundleWriter's data and index before they are renamed
    r"|.+_temp(?:_[0-9a-f]{32})?\Z"  # folders of sharded saves (SaveV2 in Checkpoint.save and in SavedModels)
    r"|checkpoint\.tmp[0-9a-f]+\Z"  # the state file before it is renamed (atomic_write_string_to_file)
    r"|.+\.orbax-checkpoint-tmp.*\Z",
    re.DOTALL,
)


def is_run_directory(path: str) -> bool:
    """Whether a path is a directory of artifacts, rather than an artifact that is one."""
    return os.path.isdir(path) and lies_in(path) is None


def has_checkpoints(path: str) -> bool:
    """Whether TF checkpoints lie in a directory: then its latest one is meant."""
    names = listing(path)
    return state_file(path, names) is not None or any(name.endswith(".index") for name in names)


def look_into(path: str, targets: Sequence[Target], known: Iterable[Examination] = ()) -> RunDirectory:
    """Reads what lies in a run directory, as far as that is not known already.

    Args:
        path: The directory.
        targets: Every artifact in it.
        known: Those that have been examined.

    Raises:
        UnreadableArtifact: The directory cannot be listed.
    """
    names = listing(path)
    examined = {each.resolved: each for each in known}
    looked = targets[-MOST_MEMBERS:]
    members = [_member(examined.get(each.resolved) or examine_target(each, judged=False)) for each in looked]
    members += _headless(path, names)
    latest, astray = _latest(path, names)
    return RunDirectory(
        path=path,
        members=tuple(members),
        latest=latest,
        astray=astray,
        temporary=tuple(name for name in names if _TEMPORARY.match(name)),
        unread=len(targets) - len(looked),
    )


def _member(examination: Examination) -> Member:
    state = examination.state
    counts = [each.iterations for each in examination.optimizers if each.iterations is not None]
    step = state.counters.get("global_step") if state is not None else None
    problem = "" if examination.error is None else str(examination.error)
    return _named(examination.resolved, problem, max(counts, default=step))


def _named(path: str, problem: str, iterations: int | None = None) -> Member:
    name = os.path.basename(path)
    stem = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
    numbers = tuple((int(whole), part) for whole, part in _NUMBER.findall(stem))
    return Member(
        name=name,
        path=path,
        # A number may be the model's, the epoch, the step or the loss: the first that is not the same in all counts up.
        # Files of the same run are copied in any order, so that their times tell only where no number does.
        family=_NUMBER.sub("#", name),
        order=(numbers, 0 if numbers else _time(path)),
        stem=stem,
        readable=not problem,
        problem=problem,
        iterations=iterations,
    )


def _time(path: str) -> float:
    there = path if os.path.exists(path) else f"{path}.index"
    return os.stat(there).st_mtime if os.path.exists(there) else 0.0


def _headless(path: str, names: Sequence[str]) -> list[Member]:
    """Checkpoints whose data files are there without their index, which is written last."""
    there = set(names)
    found = {match["prefix"] for name in names if (match := _SHARD.match(name)) is not None}
    return [
        _named(os.path.join(path, prefix), f"{prefix}.index is missing")
        for prefix in sorted(found)
        if f"{prefix}.index" not in there
    ]


def _latest(path: str, names: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The name of the latest checkpoint according to the state file; or what it names, if that is not here."""
    file = state_file(path, names)
    if file is None:
        return None, ()
    try:
        state = checkpoint_state.read_checkpoint_state(file)
    except UnreadableArtifact as error:
        return None, (str(error),)
    if not state.latest:
        return None, ()
    prefix = checkpoint_state.resolve(state, state.latest)
    if os.path.exists(f"{prefix}.index") or os.path.exists(prefix):
        return os.path.basename(prefix), ()
    return None, (state.latest,)
