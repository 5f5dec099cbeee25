"""The commands that mend what rules find, ready to be copied into a shell."""

from __future__ import annotations

import os
import re
import shlex

_NUMBER = re.compile(r"[-_.](?:step[-_]?)?(\d{1,18})\Z")
_SUFFIXES = (".weights.h5", ".keras", ".hdf5", ".h5", ".index", ".pickle", ".pkl", ".npz", ".npy")


def output_for(path: str) -> str:
    """A name for a mended copy, beside the original: `model.keras` → `model-resumed.keras`."""
    path = path.rstrip("/") or path
    for suffix in _SUFFIXES:
        if path.endswith(suffix):
            return f"{path.removesuffix(suffix)}-resumed{'' if suffix == '.index' else suffix}"
    return f"{path}-resumed"


def graft_from(donor: str, target: str, *options: str, output: str | None = None) -> str:
    """The command that puts a donor's state into a target; `DONOR` and `TARGET` stand for what is not known."""
    words = [
        "ckptdoctor",
        "graft",
        "--from",
        donor,
        "--into",
        target,
        *options,
        "--output",
        output or output_for(target),
    ]
    return shlex.join(words)


def set_count(target: str, count: int | str) -> str:
    """The command that sets an iteration count by hand."""
    return shlex.join(
        ["ckptdoctor", "graft", "--into", target, "--iterations", str(count), "--output", output_for(target)]
    )


def count_in_name(path: str) -> int | None:
    """The step that a name says: `model.ckpt-1234` → 1234; None if it says none."""
    name = os.path.basename(path.rstrip("/"))
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    found = _NUMBER.search(name)
    return int(found[1]) if found else None
