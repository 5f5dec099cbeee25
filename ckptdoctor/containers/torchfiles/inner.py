"""Archives of torch.save within a file: what `.distcp` files are made of."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.torchfiles.archive import load_archive
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.containers.zips.archive import SubFile, ZipArchive
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Archived, TensorRef


@contextmanager
def _opened(location: Archived) -> Iterator[ZipArchive]:
    with RegularFile(location.path):  # no link, no device
        stream = storage.open_stream(location.path)
    within = io.BufferedReader(SubFile(stream, location.offset, location.length))
    try:
        yield ZipArchive(location.path, within)
    finally:
        stream.close()


def inner_file(location: Archived) -> Loaded:
    """An archive within a file.

    Raises:
        UnreadableArtifact: It is none, or corrupt.
    """
    with _opened(location) as archive:
        return load_archive(location.path, archive, location.offset)


def damaged(location: Archived) -> list[str]:
    """A sentence for each member whose bytes do not come to its CRC-32.

    Raises:
        UnreadableArtifact: It is no archive.
    """
    with _opened(location) as archive:
        return list(archive.damaged(archive.names))


def inner_tensor(ref: TensorRef, location: Archived) -> TensorRef:
    """The tensor in an archive within a file, under the name of what it is a chunk of.

    Raises:
        UnreadableArtifact: It holds something else, or a tensor of another type or shape.
    """
    found = inner_file(location).root
    if not isinstance(found, TensorRef) or (found.dtype, found.shape) != (ref.dtype, ref.shape):
        held = f"{found.dtype} {list(found.shape)}" if isinstance(found, TensorRef) else "no tensor"
        raise UnreadableArtifact(
            f"holds {held} where {ref.key[:80]!r} should be, {ref.dtype} {list(ref.shape)}", location.path
        )
    return found._replace(key=ref.key)
