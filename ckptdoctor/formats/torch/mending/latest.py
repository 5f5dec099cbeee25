"""DeepSpeed's `latest`, which names the directory that is loaded."""

from __future__ import annotations

import os

from ckptdoctor.formats.torch.locating import claim

_LATEST = "latest"


def named(directory: str) -> tuple[str, str] | None:
    """The file and its content as they should be; None where nothing is wrong, or it is no directory of DeepSpeed."""
    names = frozenset(os.listdir(directory))
    found = claim(directory, directory, names) if _LATEST in names else None
    if found is None or found.reader != "deepspeed" or not found.oddities:
        return None
    return os.path.join(directory, _LATEST), os.path.basename(found.resolved)
