"""What is below a prefix, in batches that stay the same when something is added: cut by the names themselves."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
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
_SHARD = re.compile(r"(?P<whole>.+?)(\.data-\d{5}-of-\d{5}|_\d{5}\.weights\.h5)\Z", re.DOTALL)
_WHOLE = re.compile(r"(\.index|\.weights\.json)\Z")


class Batch(NamedTuple):
    """Candidates that are judged together.

    Attributes:
        name: Of what they are and how they were when they were listed: what changed is another batch.
        paths: The candidates: files, directories, indexes of TensorFlow checkpoints.
        unlisted: Those of them that are directories which could not be listed, and why.
    """

    name: str
    paths: tuple[str, ...]
    unlisted: tuple[tuple[str, str], ...] = ()


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
    taken: list[_Candidate] = []
    for each in _candidates(prefixes, shard):
        taken.append(each)
        # A path that ends a batch does so whatever stands before it: what is added changes the batch that it is in.
        if crc32(each.path.encode("utf-8", "surrogateescape")) % size == 0 or len(taken) >= 2 * size:
            yield _batch(taken, salt)
            taken = []
    if taken:
        yield _batch(taken, salt)


class _Candidate(NamedTuple):
    """What may be an artifact, the files beside it that are a part of it, and why it could not be looked into."""

    path: str
    beside: tuple[str, ...] = ()
    unlisted: str | None = None


def _candidates(prefixes: Iterable[str], shard: Shard) -> Iterator[_Candidate]:
    """Each candidate once, also where one prefix lies below another."""
    alone: dict[str, str] = {}
    above: list[str] = []
    for given in prefixes:
        prefix = storage.named(given).rstrip("/") or given
        if not storage.is_dir(prefix):
            file = _there(prefix)
            alone[storage.real(file)] = file
        elif artifact_at(prefix, prefix) is not None:
            alone[storage.real(prefix)] = prefix
        else:
            above.append(prefix)
    yield from (_Candidate(each) for each in alone.values() if shard.has(os.path.dirname(each)))
    seen: set[str] = set()
    unlisted: dict[str, str] = {}
    for prefix in above:
        for directory in directories(prefix, lambda path, error: unlisted.update({path: str(error)})):
            real = storage.real(directory)
            if real in seen or not shard.has(directory):
                continue
            seen.add(real)
            for each in _in(directory):
                if each.unlisted is not None:
                    unlisted[each.path] = each.unlisted
                elif not alone or storage.real(each.path) not in alone:
                    yield each
    yield from (_Candidate(path, unlisted=why) for path, why in unlisted.items() if shard.has(os.path.dirname(path)))


def _in(directory: str) -> Iterator[_Candidate]:
    """The candidates that lie in a directory itself."""
    try:
        names = listing(directory)
    except UnreadableArtifact as error:
        yield _Candidate(directory, unlisted=str(error))
        return
    beside: dict[str, list[str]] = {}
    for match in filter(None, map(_SHARD.match, names)):
        beside.setdefault(match["whole"], []).append(os.path.join(directory, match.group()))
    for path in candidates(directory, names, listed=False):
        name = os.path.basename(path)
        try:
            if _may_be_one(path, name):
                yield _Candidate(path, tuple(beside.get(_WHOLE.sub("", name), ())))
        except UnreadableArtifact as error:
            yield _Candidate(path, unlisted=str(error))


def _there(prefix: str) -> str:
    """A file, or the index of a checkpoint's prefix."""
    if storage.exists(prefix):
        return prefix
    if storage.exists(f"{prefix}.index"):
        return f"{prefix}.index"
    raise UsageProblem("no such file, directory or checkpoint prefix", prefix)


def _may_be_one(path: str, name: str) -> bool:
    if name.startswith("."):
        return False
    if storage.is_dir(path):
        return artifact_at(path, path) is not None
    name = name.lower()
    return os.path.splitext(name)[1] not in _NEVER or name.endswith(_MAPS)


def _batch(taken: list[_Candidate], salt: str) -> Batch:
    digest = sha256(salt.encode())
    for each in taken:
        stamps = "".join(f"\0{path}\0{_stamp(path)}" for path in _files(each))
        digest.update(f"\0{each.path}{stamps}".encode("utf-8", "surrogateescape"))
    unlisted = tuple((each.path, each.unlisted) for each in taken if each.unlisted is not None)
    return Batch(digest.hexdigest()[:24], tuple(each.path for each in taken), unlisted)


def _files(candidate: _Candidate) -> Iterator[str]:
    """All files of a candidate, in a fixed order."""
    yield from (candidate.path, *sorted(candidate.beside))
    with suppress(UnreadableArtifact):  # which its row says
        if storage.is_dir(candidate.path):
            yield from sorted(each.path for level in storage.walk(candidate.path) for each in level)


def _stamp(path: str) -> str:
    """What is another one when a file has been written anew."""
    try:
        status = storage.stat(path)
    except (OSError, UnreadableArtifact):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
