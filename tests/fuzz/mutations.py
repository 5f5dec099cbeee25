"""Damage to whole artifacts: bit flips, truncations, splices and the like, each named by what repeats it."""

from __future__ import annotations

import glob
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fuzz.documents import odd_document, odd_member, odd_metadata
from fuzz.sealing import resealed

_WORDS = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0" * 8,
    b"\xff" * 8,
    b"\xff\xff\xff\x7f",
    b"\x80" * 9 + b"\x01",
    b"\0\0\0\x80",
)
"""What numbers at their limits look like: zero, -1, the greatest, a varint of ten bytes."""


class Recipe(NamedTuple):
    """A mutant: everything about it follows from these three.

    Attributes:
        case: The artifact's path in the museum.
        format: Its format, as `inspect` names it.
        seed: Of the random choices: which of its files, which damage, where.
    """

    case: str
    format: str
    seed: int


class Damage(NamedTuple):
    """What a recipe comes to.

    Attributes:
        file: The damaged file, relative to the artifact's folder.
        what: The damage, in words.
        data: The file's bytes afterwards.
    """

    file: str
    what: str
    data: bytes


def recipes(
    museum: Path, *, each: int, step: int = 1, formats: tuple[str, ...] = (), first: int = 0
) -> Iterator[Recipe]:
    """Mutants of the museum, by artifact.

    Args:
        museum: Where it is unpacked.
        each: How many an artifact.
        step: Take every so many artifacts of a format only.
        formats: Of these formats only; none: of all.
        first: The first seed.
    """
    by_format: dict[str, list[str]] = {}
    for record in json.loads((museum / "truth.json").read_text(encoding="utf-8")):
        by_format.setdefault(record["format"], []).append(record["path"])
    for form, cases in by_format.items():
        if formats and form not in formats:
            continue
        for case in cases[::step]:
            yield from (Recipe(case, form, seed) for seed in range(first, first + each))


def copied(museum: Path, case: str, folder: Path) -> Path:
    """Copies an artifact, which is a file, a directory, or a prefix with its files, into a folder of its own."""
    source = museum / case
    if source.is_dir():
        shutil.copytree(source, folder / source.name)
    else:
        stem = source.name.removesuffix(".json")  # what lists shards, beside them
        folder.mkdir(parents=True, exist_ok=True)
        beside = sorted(source.parent.glob(f"{glob.escape(stem.split('.weights')[0])}*"))
        for path in [source] if source.suffix in {".h5", ".keras", ".pkl", ".npy", ".npz"} else beside:
            if path.is_file():
                shutil.copy(path, folder)
    return folder / source.name


def damage(recipe: Recipe, folder: Path) -> Damage:
    """Decides what a recipe does to the copy of its artifact in `folder`; nothing is written."""
    choose = random.Random(f"{recipe.case} {recipe.seed}")
    files = sorted(each for each in folder.rglob("*") if each.is_file() and each.stat().st_size)
    file = choose.choice(files)
    data = file.read_bytes()
    kind = choose.choice(tuple(_KINDS))
    if choose.random() < 0.5 and (inside := _inside(choose, file, data, kind)) is not None:
        return Damage(os.fspath(file.relative_to(folder)), *inside)
    changed = _KINDS[kind](choose, data, choose.choice(files).read_bytes())
    sealed = file.name.endswith(".index") or recipe.format == "tf-checkpoint-v1"
    if sealed and choose.random() < 0.7:
        changed, kind = resealed(changed), f"{kind}, checksums put right"
    return Damage(os.fspath(file.relative_to(folder)), kind, changed)


def _inside(choose: random.Random, file: Path, data: bytes, kind: str) -> tuple[str, bytes] | None:
    """Damage that leaves the form whole: in a document, or in an archive's member."""
    if file.suffix in {".keras", ".npz"}:
        return f"{kind}, or a value replaced, in a member", odd_member(choose, data, _KINDS[kind])
    if file.suffix == ".json":
        return "a value replaced", odd_document(choose, data)
    if file.name == "keras_metadata.pb":
        return "a value replaced", odd_metadata(choose, data)
    return None


# ------------------------------------------------------------------------------------------------------------ damages


def _flip(choose: random.Random, data: bytes, _: bytes) -> bytes:
    out = bytearray(data)
    for _number in range(choose.choice((1, 1, 1, 2, 8, 64))):
        out[choose.randrange(len(out))] ^= 1 << choose.randrange(8)
    return bytes(out)


def _overwrite(choose: random.Random, data: bytes, _: bytes) -> bytes:
    word, at = choose.choice(_WORDS), choose.randrange(len(data))
    return data[:at] + word[: len(data) - at] + data[at + len(word) :]


def _truncate(choose: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: choose.choice((0, 1, choose.randrange(len(data)), choose.randrange(len(data)), len(data) - 1))]


def _range(choose: random.Random, data: bytes) -> tuple[int, int]:
    start = choose.randrange(len(data))
    return start, min(len(data), start + choose.choice((1, 4, 16, 256, 4096)))


def _cut(choose: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _range(choose, data)
    return data[:start] + data[end:]


def _repeat(choose: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _range(choose, data)
    return data[:end] + data[start:end] * choose.choice((1, 2, 50)) + data[end:]


def _splice(choose: random.Random, data: bytes, other: bytes) -> bytes:
    start, end = _range(choose, other)
    at = choose.randrange(len(data))
    skip = choose.choice((0, end - start))
    return data[:at] + other[start:end] + data[at + skip :]


def _swap(choose: random.Random, data: bytes, other: bytes) -> bytes:
    """The beginning of one file, the end of another."""
    return data[: choose.randrange(len(data))] + other[choose.randrange(len(other)) :]


def _fill(choose: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _range(choose, data)
    return data[:start] + choose.choice((b"\0", b"\xff", b"A")) * (end - start) + data[end:]


_KINDS: Mapping[str, Callable[[random.Random, bytes, bytes], bytes]] = {
    "bits flipped": _flip,
    "a number overwritten": _overwrite,
    "truncated": _truncate,
    "a range cut out": _cut,
    "a range repeated": _repeat,
    "a splice": _splice,
    "two files joined": _swap,
    "a range filled": _fill,
}
