"""What every format promises, whatever it is: `FormatContract` has the tests, a subclass names the format.

Its artifacts are those that frameworks wrote, a few of each producer, and what `more` makes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import ckptdoctor
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.diagnosis.names import misnamed
from ckptdoctor.errors import CkptDoctorError, UnreadableArtifact
from ckptdoctor.examination import Examination, examine
from ckptdoctor.formats.keras.shard_map import shards
from ckptdoctor.formats.locate import locate
from ckptdoctor.formats.registry import READERS, ending_as, reader, record
from ckptdoctor.state import Format, TrainingState


def _producer(found: dict[str, Any]) -> tuple[str | None, str]:
    wrote = found["producer"]
    return wrote.get("flavor"), str(wrote.get("keras") or wrote.get("tensorflow")).split(".", maxsplit=1)[0]


def _resolved(path: Path) -> str:
    """The artifact that a directory means."""
    (target,) = locate(str(path))
    return target.resolved


@cache
def samples(museum: Path, kind: Format) -> list[str]:
    """Artifacts of a format: the first and the last of each producer and ending, with optimizer state and without."""
    found: dict[tuple[object, ...], list[Path]] = {}
    for each in json.loads((museum / "truth.json").read_text(encoding="utf-8")):
        if each["format"] == kind.value:
            key = (*_producer(each), each["state_present"], os.path.splitext(each["path"])[1])
            found.setdefault(key, []).append(museum / each["path"])
    return [_resolved(path) for row in found.values() for path in dict.fromkeys((row[0], row[-1]))]


def files_of(path: str) -> list[str]:
    """Every file of an artifact."""
    if os.path.isdir(path):
        return [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    folder, name = os.path.split(path)
    if name.endswith(".weights.json"):
        return [path, *(os.path.join(folder, each) for each in shards(path))]
    if os.path.isfile(path) and "-of-" not in name:
        return [path]
    starts = (f"{name.partition('-00000-of-')[0]}-0",) if os.path.isfile(path) else (f"{name}.index", f"{name}.data-")
    return [os.path.join(folder, each) for each in os.listdir(folder) if each.startswith(starts)]


def copied(path: str, folder: Path) -> str:
    """A copy of an artifact in a folder of its own."""
    folder.mkdir()
    if os.path.isdir(path):
        shutil.copytree(path, folder / os.path.basename(path))
    else:
        for each in files_of(path):
            shutil.copy(each, folder)
    return str(folder / os.path.basename(path))


def _examined(path: str) -> Examination:
    (found,) = examine(path)
    return found


def _values(state: TrainingState) -> dict[tuple[object, ...], Any]:
    """The optimizers' slots and counts."""
    found: dict[tuple[object, ...], Any] = {}
    for optimizer in state.optimizers:
        found[optimizer.name, "count"] = optimizer.iterations
        for slot in optimizer.slots:
            # What a list without names is taken for may change with its count's type; what it holds does not.
            place = slot.tensor.key if slot.variable is None else (slot.role, slot.name, slot.variable)
            found[optimizer.name, place] = assembled(slot.tensor)
    return found


class FormatContract:
    """The promises of one format.

    Attributes:
        kind: The format.
        unread: Names of files that are no part of what is read.
        becomes: What a graft writes, where that is a newer format.
    """

    kind: ClassVar[Format]
    unread: ClassVar[frozenset[str]] = frozenset()
    becomes: ClassVar[Format | None] = None

    def is_read(self, file: Path) -> bool:
        """Whether a file of an artifact has to be whole."""
        return file.name not in self.unread

    def more(self, folder: Path) -> Iterator[str]:
        """Makes artifacts that no framework wrote for the museum."""
        del folder
        yield from ()

    @pytest.fixture
    def artifacts(self, museum: Path, tmp_path: Path) -> list[str]:
        """Artifacts of the format."""
        made = tmp_path / "made"
        made.mkdir()
        return [*samples(museum, self.kind), *self.more(made)]

    def test_claimed(self, artifacts: list[str]) -> None:
        """`locate` finds the format's reader, by the bytes."""
        mine = {each.id for each in READERS if self.kind in each.formats}
        for path in artifacts:
            (target,) = locate(path)
            assert target.reader in mine, path
            assert _examined(path).format is self.kind, path

    def test_named_otherwise(self, artifacts: list[str], tmp_path: Path) -> None:
        """A single file is what its bytes are, whatever it is called."""
        for number, path in enumerate(artifacts):
            if files_of(path) == [path]:
                shutil.copy(path, tmp_path / f"{number}")
                assert _examined(str(tmp_path / f"{number}")).format is self.kind, path

    def test_others_are_refused(self, museum: Path) -> None:
        """Its readers take no other format for theirs, and have one kind of error to say so."""
        for other in Format:
            for path in samples(museum, other)[:3] if other is not self.kind else ():
                for each in READERS:
                    if self.kind not in each.formats or not os.path.exists(path):  # a prefix is no file to read
                        continue
                    try:
                        found = reader(each.id)(path).format
                    except UnreadableArtifact:
                        continue
                    assert found is other, path

    def test_the_same_twice(self, artifacts: list[str]) -> None:
        """Reading depends on nothing but the bytes."""
        for path in artifacts:
            assert _examined(path) == _examined(path), path

    def test_cut_short(self, artifacts: list[str], tmp_path: Path) -> None:
        """An artifact of which a file lacks its end is refused."""
        for number, path in enumerate(artifacts):
            copy = copied(path, tmp_path / str(number))
            for each in map(Path, files_of(copy)):
                data = each.read_bytes()
                for size in (len(data) - 1, len(data) // 2) if self.is_read(each) else ():
                    each.write_bytes(data[:size])
                    assert _examined(copy).error is not None, f"{path}: {size} of {len(data)} bytes of {each.name}"
                each.write_bytes(data)
            assert _examined(copy).error is None, path

    def test_written_again(self, artifacts: list[str], tmp_path: Path) -> None:
        """An artifact with its own state is written under a name that fits, or refused in the words of the plan."""
        written = 0
        for number, path in enumerate(artifacts):
            before = _examined(path).state
            assert before is not None
            folder = tmp_path / f"out-{number}"
            folder.mkdir()
            out = str(folder / f"out{ending_as(self.kind, path) or record(self.kind).ending}")
            assert misnamed(out, self.kind) is None
            planned = told = None
            try:
                ckptdoctor.plan_graft(path, path, out)
            except CkptDoctorError as error:
                planned = str(error)
            assert not list(folder.iterdir()), path
            try:
                ckptdoctor.graft(path, path, out)
            except CkptDoctorError as error:
                told = str(error)
            assert told == planned, path
            if told is not None:
                assert not list(folder.iterdir()), path
                continue
            written += 1
            after = _examined(out).state
            assert after is not None
            assert after.format is (self.becomes or self.kind)
            wanted, found = _values(before), _values(after)
            assert {key for key in wanted if key[1] != "count"} <= set(found), path
            for key, value in wanted.items():
                assert np.array_equal(found[key], value), f"{path}: {key}"
        assert (written > 0) == (record(self.kind).write is not None)
