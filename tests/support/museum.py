"""The museum of real artifacts, unpacked."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"
PARTS = ("museum.tar.xz", "orbax.tar.xz", "torch.tar.xz")


def unpack(folder: Path, *names: str) -> Path:
    """Unpacks the museum, or other archives of artifacts, and answers the folder; their records become one list."""
    records: list[object] = []
    for name in names or PARTS:
        with tarfile.open(FIXTURES / name) as archive:
            if hasattr(tarfile, "data_filter"):  # Python 3.10.12, 3.11.4 and newer
                archive.extractall(folder, filter="data")
            else:
                archive.extractall(folder)
        if (folder / "truth.json").exists():
            records += json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    (folder / "truth.json").write_text(json.dumps(records), encoding="utf-8")
    return folder


def files_of(path: Path) -> list[Path]:
    """The files of an artifact, or its folder; a checkpoint's, and shards of weights, begin with its name."""
    return [path] if path.is_dir() else sorted(path.parent.glob(f"{path.name.removesuffix('.weights.json')}*"))
