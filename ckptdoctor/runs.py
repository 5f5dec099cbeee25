"""Looks into a run directory: what its state file names, what lies there, and how far each of it has got."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ckptdoctor import storage
from ckptdoctor.diagnosis.run_directory import Member, RunDirectory
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.directories import artifact_at, family, is_there, listing, meant_by, saved_order, state_file
from ckptdoctor.formats.orbax.locating import latest_in
from ckptdoctor.formats.registry import endings
from ckptdoctor.formats.tensorflow import state_file as checkpoint_state

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

MOST_MEMBERS = 1000
"""So many artifacts of a directory are looked into by `check`, those with the highest numbers."""

_SUFFIXES = endings(prefixes=False)
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
    return storage.is_dir(path) and artifact_at(path, path) is None


def has_checkpoints(path: str) -> bool:
    """Whether TF checkpoints lie in a directory: then its latest one is meant."""
    names = listing(path)
    return state_file(path, names) is not None or any(name.endswith(".index") for name in names)


def has_latest(path: str) -> bool:
    """Whether a directory stands for its latest: one with TF checkpoints, or the root of Orbax' steps."""
    return has_checkpoints(path) or latest_in(path, path, listing(path)) is not None


def look_into(
    path: str, targets: Sequence[Target], examined: Callable[[Target], Examination], *, most: int = MOST_MEMBERS
) -> RunDirectory:
    """What lies in a run directory, and how far each of it has got.

    Args:
        path: The directory.
        targets: Every artifact in it.
        examined: Reads an artifact, if it has not been read already.
        most: So many are looked into, those with the highest numbers.

    Raises:
        UnreadableArtifact: The directory cannot be listed.
    """
    names = listing(path)
    looked = targets[-most:]
    members = [_member(examined(each)) for each in looked]
    members += headless(path, names)
    latest, astray = _latest(path, names)
    located = () if astray or not has_checkpoints(path) else meant_by(path, path, everything=False)
    return RunDirectory(
        path=path,
        members=tuple(members),
        latest=latest,
        astray=astray,
        oddities=tuple(each for target in located for each in target.oddities if each.code == "P001"),
        temporary=unfinished(names),
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
    return Member(
        name=name,
        path=path,
        family=family(name),
        order=saved_order(path, stem),
        stem=stem,
        readable=not problem,
        problem=problem,
        iterations=iterations,
    )


def unfinished(names: Iterable[str]) -> tuple[str, ...]:
    """Names of files and directories of saves that did not end."""
    return tuple(name for name in names if _TEMPORARY.match(name))


def headless(path: str, names: Sequence[str]) -> list[Member]:
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
    if is_there(prefix):
        return os.path.basename(prefix), ()
    return None, (state.latest,)
