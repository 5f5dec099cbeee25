"""A `.keras` archive from another one, whose weights are edited where they lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.window import Window
from ckptdoctor.containers.hdf5.editing import Edit, Sizes, Span, edit_span
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.editing import Replacement, rewrite
from ckptdoctor.formats.keras.archive import WEIGHTS_H5

_STRUCTURE = 64 << 20
"""More than HDF5 needs to describe a model's data sets, for reckoning with sizes."""
_PER_DATASET = 8 << 10
_MOST_BYTES = 16
"""Of an element."""
_COPY_BYTES = 4 << 20


def rewrite_archive(
    target: str, output: str, edit: Edit, others: Mapping[str, bytes], dead: int, progress: Progress | None = None
) -> Sizes:
    """Writes an archive with edited weights.

    Args:
        target: The archive, which has its weights in HDF5; it is only read.
        output: The new one, which must not exist.
        edit: What changes in the weights.
        others: Other members that are replaced.
        dead: Bytes that deleting leaves behind in the weights.
        progress: Told how many more bytes are written.

    Returns:
        Bytes of new data sets, and of what was copied.
    """
    with ZipArchive(target) as archive:
        expected = archive.size(WEIGHTS_H5)
    new = 0

    def weights(descriptor: int, start: int) -> int:
        nonlocal new
        window = Window(descriptor, start)
        with ZipArchive(target) as archive, open(target, "rb") as plain:
            if archive.is_stored(WEIGHTS_H5):
                span = Span(plain.fileno(), archive.offset(WEIGHTS_H5), expected)
                new = edit_span(span, window, descriptor, edit, dead, progress).new
            else:
                with tempfile.TemporaryFile(dir=os.path.dirname(output) or ".") as unpacked:
                    with archive.open(WEIGHTS_H5) as packed:
                        while data := packed.read(_COPY_BYTES):
                            unpacked.write(data)
                    unpacked.flush()
                    span = Span(unpacked.fileno(), 0, expected)
                    new = edit_span(span, window, descriptor, edit, dead, progress).new
        return window.size

    replacements = {name: Replacement(content) for name, content in others.items()}
    edited = Replacement(weights, expected + _room(edit), is_edited=True)
    sizes = rewrite(target, output, {WEIGHTS_H5: edited, **replacements}, progress)
    return Sizes(new, sizes.copied + max(expected - dead, 0))


def _room(edit: Edit) -> int:
    """What an edit can add to a file, generously."""
    total = _STRUCTURE
    for each in edit.datasets:
        count = _MOST_BYTES
        for extent in each.shape:
            count *= extent
        total += count + _PER_DATASET
    return total
