"""An optimizer in an archive of stable-baselines3: its member is exchanged, every other one is copied.

Source: stable_baselines3/common/base_class.py (`set_parameters`: every member is an attribute of the algorithm).
"""

from __future__ import annotations

import os
from functools import partial
from shutil import copyfileobj
from tempfile import TemporaryDirectory

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.window import copy_range
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.torchfiles.writing.file import exchange
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.editing import Replacement, rewrite
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.torch.baselines import members
from ckptdoctor.formats.torch.contents import contents
from ckptdoctor.formats.torch.writing.sites import fields_at, path_to
from ckptdoctor.formats.torch.writing.state_dict import parts, planned_state
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.words import enumerate_some

_CALL = "load it by the class of its algorithm, such as PPO.load('OUT', env)"


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for it.
    """
    _values(optimizer, target)


def write(optimizer: PlannedOptimizer, target: str, output: str, *, progress: Progress | None = None) -> Written:
    """Writes an archive with this optimizer.

    Args:
        optimizer: The optimizer.
        target: The archive that is completed.
        output: The archive that is written.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: It has no place for it.
        UnreadableArtifact: An input is corrupt.
    """
    name, values = _values(optimizer, target)
    with TemporaryDirectory(prefix=".", dir=os.path.dirname(output)) as folder:
        old, new = os.path.join(folder, "old"), os.path.join(folder, "new")
        with ZipArchive(target) as archive, archive.open(name) as member, open(old, "xb") as copy:
            copyfileobj(member, copy)
        made = exchange(old, new, values)
        size = os.path.getsize(new)
        sizes = rewrite(target, output, {name: Replacement(partial(_put, new, size, progress), size)}, progress)
    notes = [_CALL]
    if planned_state(optimizer, target).schedulers:
        notes.append(
            "the donor's scheduler stays behind: its algorithm sets the rate by learning_rate before each update"
        )
    return Written(tuple(notes), made.new, sizes.copied + made.copied)


def _put(path: str, size: int, progress: Progress | None, descriptor: int, start: int) -> int:
    with open(path, "rb") as source:
        copy_range(source.fileno(), 0, size, descriptor, start, progress)
    return size


def _values(optimizer: PlannedOptimizer, target: str) -> tuple[str, dict[Path, Node]]:
    """The optimizer's member, and what is where in it from now on.

    Raises:
        GraftRefused: There is none of its name.
    """
    planned = planned_state(optimizer, target)
    roots = {name: loaded.root for name, loaded in members(target)}
    name, _, rest = optimizer.name.partition("/")
    if name not in roots or rest not in contents(roots[name]).optimizers:
        there = [each for each, root in roots.items() if contents(root).optimizers]
        raise GraftRefused(
            f"the archive has no optimizer {optimizer.name!r}, and its algorithm takes none but its own "
            f"({enumerate_some(there, 4)}): name one by --optimizer DONOR=MEMBER"
            if there
            else "the archive has no optimizer, as its algorithm saved none",
            target,
        )
    at = path_to(roots[name], rest, target)
    return name, {(*at, key): each for key, each in parts(planned, fields_at(roots[name], at)).items()}
