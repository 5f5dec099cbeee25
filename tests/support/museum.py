"""The museum of real artifacts, unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"


def unpack(folder: Path) -> Path:
    """Unpacks the museum into a folder, and answers it."""
    with tarfile.open(FIXTURES / "museum.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.10.12, 3.11.4 and newer
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    return folder
