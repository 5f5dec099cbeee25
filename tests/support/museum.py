"""The museum of real artifacts, unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"


def unpack(folder: Path, name: str = "museum.tar.xz") -> Path:
    """Unpacks the museum, or another archive of artifacts, into a folder, and answers it."""
    with tarfile.open(FIXTURES / name) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.10.12, 3.11.4 and newer
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    return folder
