"""A flipped bit in a TensorFlow checkpoint is never called clean by `check --deep`, wherever it is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.mutations import copied

import ckptdoctor
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.sstable import FOOTER, Table
from ckptdoctor.references import FileRange, Pieces, TensorRef

FLIPS = 12
"""In each file of each checkpoint; `nightly` has more."""
MANY = 60


def _cases(museum: Path, form: str, count: int) -> list[str]:
    records = json.loads((museum / "truth.json").read_text(encoding="utf-8"))
    cases = [
        record["path"] for record in records if record["format"] == form and not (museum / record["path"]).is_dir()
    ]
    return cases[:: max(1, len(cases) // count)]


def _findings(artifact: Path) -> set[tuple[str, str]]:
    report = ckptdoctor.check(artifact, deep=True)
    return {(each.code, each.message) for result in report.results for each in result.findings}


def _ranges(ref: TensorRef) -> Iterator[FileRange]:
    parts = [part.location for part in ref.location.parts] if isinstance(ref.location, Pieces) else [ref.location]
    yield from (part for part in parts if isinstance(part, FileRange) and part.nbytes)


def _flipped(file: Path, data: bytes, at: int, bit: int) -> None:
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    file.write_bytes(changed)


def _unnoticed(artifact: Path, file: Path, places: list[int], seed: str, codes: set[str]) -> list[int]:
    """Flips one bit at each place in turn; answers where no new finding with one of the codes tells of it."""
    choose, data, before = random.Random(seed), file.read_bytes(), _findings(artifact)
    missed = []
    for at in places:
        _flipped(file, data, at, choose.randrange(8))
        if not any(code in codes for code, _ in _findings(artifact) - before):
            missed.append(at)
    file.write_bytes(data)
    return missed


@pytest.mark.parametrize("flips", [FLIPS, pytest.param(MANY, marks=pytest.mark.nightly)])
def test_tensors(museum: Path, tmp_path: Path, flips: int) -> None:
    """In a tensor's bytes: its checksum does not match, or what it says of the checkpoint cannot be read at all."""
    for case in _cases(museum, "tf-checkpoint", 8):
        artifact = copied(museum, case, tmp_path / case)
        choose = random.Random(case)
        ranges = [place for ref in read_bundle(str(artifact)).tensors.values() for place in _ranges(ref)]
        for path in sorted({place.path for place in ranges}):
            chosen = [choose.choice([each for each in ranges if each.path == path]) for _ in range(flips)]
            places = [each.offset + choose.randrange(each.nbytes) for each in chosen]
            missed = _unnoticed(artifact, Path(path), places, case, {"I001", "I004"})
            assert not missed, f"{case}: a flip at byte {missed} of {Path(path).name} goes unnoticed"


@pytest.mark.parametrize("flips", [FLIPS, pytest.param(MANY, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("form", ["tf-checkpoint", "tf-checkpoint-v1"])
def test_tables(form: str, museum: Path, tmp_path: Path, flips: int) -> None:
    """Anywhere in an index, or in the one file of a V1 checkpoint: it cannot be read, or a finding tells of it."""
    for case in _cases(museum, form, 6):
        artifact = copied(museum, case, tmp_path / case)
        choose = random.Random(case)
        file = Path(f"{artifact}.index") if form == "tf-checkpoint" else artifact
        size = file.stat().st_size
        places = [choose.randrange(size) for _ in range(flips)] + [size - FOOTER + number for number in range(FOOTER)]
        missed = _unnoticed(artifact, file, places, case, {"I001", "I002", "I003", "I004"})
        assert not missed, f"{case}: a flip at byte {missed} of {file.name}, which has {size}, goes unnoticed"


def test_every_table_of_the_museum_is_sound(museum: Path) -> None:
    """What every version of TensorFlow has written passes."""
    paths = [*museum.rglob("*.index"), *museum.rglob("*_v1/model.ckpt-7")]
    assert len(paths) > 400
    for path in paths:
        with RegularFile(str(path)) as file:
            assert list(Table(file).damaged()) == [], path
