"""The commands that mend what rules find, ready to be copied into a shell."""

from __future__ import annotations

import os
import re
import shlex
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptdoctor.diagnosis.evidence import Evidence
    from ckptdoctor.state import OptimizerState

_NUMBER = re.compile(r"[-_.](?:step[-_]?)?(\d{1,18})\Z")
_SUFFIXES = (".weights.h5", ".keras", ".hdf5", ".h5", ".index", ".pickle", ".pkl", ".npz", ".npy")


def output_for(path: str) -> str:
    """A name for a mended copy, beside the original: `model.keras` → `model-resumed.keras`."""
    path = path.rstrip("/") or path
    if os.path.basename(path) in {".", ".."}:
        path = os.path.abspath(path)
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
    return _shell(words)


def set_count(target: str, count: int | str, *options: str) -> str:
    """The command that sets an iteration count by hand."""
    given = ["--into", target, "--iterations", str(count), *options, "--output", output_for(target)]
    return _shell(["ckptdoctor", "graft", *given])


def _shell(words: list[str]) -> str:
    """A command as a shell takes it: names that cannot be shown are quoted by their bytes."""
    return " ".join(shlex.quote(word) if word.isprintable() else _by_bytes(word) for word in words)


_PLAIN = frozenset((string.ascii_letters + string.digits + string.punctuation + " ").encode()) - frozenset(b"'\\")


def _by_bytes(word: str) -> str:
    try:
        encoded = os.fsencode(word)
    except UnicodeEncodeError:  # half a character, which no file's name has
        encoded = word.encode("utf-8", "surrogatepass")
    shown = "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in encoded)
    return f"$'{shown}'"


def count_in_name(path: str) -> int | None:
    """The step that a name says: `model.ckpt-1234` → 1234; None if it says none."""
    name = os.path.basename(path.rstrip("/"))
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    found = _NUMBER.search(name)
    return int(found[1]) if found else None


def known_count(evidence: Evidence, optimizer: OptimizerState) -> tuple[int, str] | None:
    """A count to set, and what says it: state of the optimizer, a counter beside it, the name of the file."""
    if optimizer.recoverable is not None:
        return optimizer.recoverable
    step = evidence.state.counters.get("global_step") if evidence.state is not None else None
    if step:
        return step, "global_step"
    named = count_in_name(evidence.path)
    return (named, "the file's name") if named else None
