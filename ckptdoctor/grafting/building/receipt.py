"""What a graft hands over when it is done: the plan, what was written, and the digests of all files."""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ckptdoctor.containers.bytes.files import RegularFile, reason
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.formats.contract import Written
from ckptdoctor.grafting.plan import Plan

_BLOCK = 1 << 20
DIGESTED = 64 << 20
"""Larger files are digested on demand: SHA-256 takes several times as long as copying them."""
OMITTED = "larger than 64 MiB: --sha256 digests it too"


class FileRecord(NamedTuple):
    """A file of an input or of the output.

    Attributes:
        path: Where it is.
        size: Bytes.
        sha256: Its digest; None where it was left out. Of a large checkpoint the index is digested, whose checksums
            cover every tensor and were verified on the way.
        omitted: Why there is no digest; None if there is one.
    """

    path: str
    size: int
    sha256: str | None
    omitted: str | None = None


class Receipt(NamedTuple):
    """What was done.

    Attributes:
        plan: The plan that was carried out.
        written: What the writer says.
        inputs: The files of donor and target.
        outputs: The files of the result.
    """

    plan: Plan
    written: Written
    inputs: tuple[FileRecord, ...]
    outputs: tuple[FileRecord, ...]


def digest_files(
    paths: Sequence[str], *, everything: bool, progress: Callable[[int], None] | None = None
) -> list[FileRecord]:
    """Digests files, one on each core at a time: hashing gives the interpreter's lock away.

    Args:
        paths: The files; one that has several names among them is read once.
        everything: Large ones too.
        progress: Told how many more bytes were digested.

    Raises:
        GraftRefused: A file cannot be read.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    found = {path: _status(path) for path in paths}
    digests: dict[tuple[int, int], Future[str]] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        # The largest first, so that no core is left with it at the end.
        for path, status in sorted(found.items(), key=lambda each: -each[1].st_size):
            identity = (status.st_dev, status.st_ino)
            if identity not in digests and (everything or status.st_size <= DIGESTED):
                digests[identity] = pool.submit(_digest, path, progress)
    records: list[FileRecord] = []
    for path in paths:
        status = found[path]
        digest = digests.get((status.st_dev, status.st_ino))
        value = digest.result() if digest is not None else None
        records.append(FileRecord(path, status.st_size, value, OMITTED if value is None else None))
    return records


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise GraftRefused(f"{os.path.basename(path)} could not be read again: {reason(error)}", path) from error


def _digest(path: str, progress: Callable[[int], None] | None) -> str:
    digest = hashlib.sha256()
    try:
        with RegularFile(path) as file:
            for start in range(0, file.size, _BLOCK):
                block = file.read(start, min(_BLOCK, file.size - start))
                digest.update(block)
                if progress is not None:
                    progress(len(block))
    except UnreadableArtifact as error:
        raise GraftRefused(f"{os.path.basename(path)} could not be read again: {error}", path) from error
    return digest.hexdigest()
