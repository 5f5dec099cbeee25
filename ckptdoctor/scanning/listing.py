"""What is below a prefix, in batches that stay the same when something is added: cut by the names themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple
from zlib import crc32

from ckptdoctor import storage
from ckptdoctor.errors import UnreadableArtifact, UsageProblem
from ckptdoctor.formats.directories import artifact_at, candidates, directories, listing

_NEVER = frozenset({
    ".bz2", ".c", ".cfg", ".cpp", ".css", ".csv", ".gif", ".gz", ".html", ".ini", ".ipynb", ".jpeg", ".jpg", ".js",
    ".json", ".jsonl", ".lock", ".log", ".md", ".mp4", ".out", ".parquet", ".pdf", ".png", ".py", ".pyc", ".rst",
    ".sh", ".sqlite", ".svg", ".tar", ".tfrecord", ".toml", ".tsv", ".txt", ".wav", ".xml", ".xz", ".yaml", ".yml",
    ".zst",
})  # fmt: skip
"""Endings of files that are no artifacts: they are not opened, which at a URL is a request each."""
_MAPS = (".weights.json", ".safetensors.index.json", ".bin.index.json")
"""But these are."""


class Batch(NamedTuple):
    """Candidates that are judged together.

    Attributes:
        name: Of what they are and how they were when they were listed: what changed is another batch.
        paths: The candidates: files, directories, indexes of TensorFlow checkpoints.
    """

    name: str
    paths: tuple[str, ...]


class Shard(NamedTuple):
    """One part of a scan that several machines share: directories, so that a run stays together.

    Attributes:
        number: From 1.
        of: So many.
    """

    number: int = 1
    of: int = 1

    def has(self, directory: str) -> bool:
        """Whether a directory is in this part."""
        return crc32(directory.encode("utf-8", "surrogateescape")) % self.of == self.number - 1


def batches(prefixes: Iterable[str], size: int, shard: Shard, salt: str) -> Iterator[Batch]:
    """Lists what may be an artifact, in batches of about `size`.

    Args:
        prefixes: Files, directories, URLs.
        size: Candidates in a batch; at most twice as many.
        shard: Which part of all directories.
        salt: What else decides about the results: the policy, the version.

    Raises:
        NoSuchPath: Nothing is at a prefix.
        UnreadableArtifact: A directory cannot be listed.
    """
    taken: list[str] = []
    for path in _candidates(prefixes, shard):
        taken.append(path)
        # A path that ends a batch does so whatever stands before it: what is added changes the batch that it is in.
        if crc32(path.encode("utf-8", "surrogateescape")) % size == 0 or len(taken) >= 2 * size:
            yield _batch(taken, salt)
            taken = []
    if taken:
        yield _batch(taken, salt)


def _candidates(prefixes: Iterable[str], shard: Shard) -> Iterator[str]:
    seen: set[str] = set()
    for given in prefixes:
        prefix = storage.named(given).rstrip("/") or given
        if not storage.is_dir(prefix):
            if shard.has(os.path.dirname(prefix)):
                yield _there(prefix)
            continue
        if artifact_at(prefix, prefix) is not None:
            if shard.has(prefix):
                yield prefix
            continue
        for directory in directories(prefix):
            real = storage.real(directory)
            if real in seen or not shard.has(directory):
                continue
            seen.add(real)
            try:
                names = listing(directory)
            except UnreadableArtifact:
                yield directory  # whose row says so
                continue
            for each in candidates(directory, names):
                if _may_be_one(each):
                    yield each


def _there(prefix: str) -> str:
    """A file, or the index of a checkpoint's prefix."""
    if storage.exists(prefix):
        return prefix
    if storage.exists(f"{prefix}.index"):
        return f"{prefix}.index"
    raise UsageProblem("no such file, directory or checkpoint prefix", prefix)


def _may_be_one(path: str) -> bool:
    name = os.path.basename(path).lower()
    return not name.startswith(".") and (os.path.splitext(name)[1] not in _NEVER or name.endswith(_MAPS))


def _batch(paths: list[str], salt: str) -> Batch:
    digest = sha256(salt.encode())
    for each in paths:
        digest.update(f"\0{each}\0{_stamp(each)}".encode("utf-8", "surrogateescape"))
    return Batch(digest.hexdigest()[:24], tuple(paths))


def _stamp(path: str) -> str:
    """What is another one when a file has been written anew; of directories nothing cheap tells."""
    try:
        status = storage.stat(path)
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}" if not storage.is_dir(path) else f"{status.st_mtime_ns}"
