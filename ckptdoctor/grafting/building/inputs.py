"""The files that a graft reads, and whether they stay what they were while it does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ckptdoctor.errors import CkptDoctorError, GraftRefused
from ckptdoctor.grafting.building.staging import existing


class Inputs:
    """The files of donor and target, as they were when they were read first.

    Attributes:
        artifacts: What was read: files, directories, checkpoint prefixes.
        files: Every file of each, the donor's first.
    """

    def __init__(self, artifacts: Sequence[str]) -> None:
        self.artifacts = tuple(artifacts)
        self.files = [path for each in artifacts for path in files_of(each)]
        self._stamps = {path: _stamp(path) for path in self.files}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Requires that they are unchanged when the block ends; if they are not, nothing else is told that went wrong.

        Raises:
            GraftRefused: One was written to.
        """
        try:
            yield
        except CkptDoctorError:
            self.require_unchanged()
            raise
        self.require_unchanged()

    def require_unchanged(self) -> None:
        """Raises GraftRefused where a file is not the one any more that was read.

        A run that still writes may replace a checkpoint while it is copied: what was planned from the old one and what
        was copied from the new one would be no state that ever was.
        """
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                raise GraftRefused(
                    f"{os.path.basename(path)} changed while it was read; nothing was written: try again, with files "
                    "that nothing writes to",
                    path,
                )


def _stamp(path: str) -> tuple[int, ...] | None:
    """What tells a file from another one, or from itself after it was written to."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def files_of(path: str) -> list[str]:
    """Every file of an artifact: itself, a checkpoint's index and data, everything below a directory."""
    if os.path.isdir(path):
        found = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
        return [each for each in found if os.path.isfile(each)]
    found = existing(path)
    return [each for each in found if os.path.isfile(each)] or ([path] if os.path.isfile(path) else [])
