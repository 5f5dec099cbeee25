"""The commands that mend what rules find, ready to be copied into a shell."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from ckptdoctor import storage
from ckptdoctor.diagnosis.names import ending_for
from ckptdoctor.formats.registry import endings, record

if TYPE_CHECKING:
    from ckptdoctor.diagnosis.evidence import Evidence
    from ckptdoctor.state import Format, OptimizerState

_NUMBER = r"[-_.](?:step[-_]?)?(\d{1,18})\Z"
SUFFIXES = (*endings(prefixes=False), ".index")


def output_for(path: str, kind: Format | None = None, word: str = "resumed") -> str:
    """A name for a mended copy, beside the original: `model.keras` → `model-resumed.keras`, under which it loads."""
    path = path.rstrip("/") or path
    if os.path.basename(path) in {".", ".."}:
        path = storage.absolute(path)
    suffix = next((each for each in SUFFIXES if path.endswith(each)), "") if path.endswith(SUFFIXES) else ""
    own = None if kind is None or storage.is_dir(path) else ending_for(path, kind)
    ending = ("" if suffix == ".index" else suffix) if own is None else own
    return f"{path.removesuffix(suffix)}-{word}{ending}"


def graft_from(donor: str, target: str | Evidence, *options: str, output: str | None = None) -> str:
    """The command that puts a donor's state into a target; `DONOR` and `TARGET` stand for what is not known."""
    path, kind = _named(target)
    if kind is not None and record(kind).write is None:
        return record(kind).unwritable
    given = ["--from", donor, "--into", path, *options, "--output", output or output_for(path, kind)]
    return _shell(["ckptdoctor", "graft", *given])


def set_count(target: str | Evidence, count: int | str, *options: str) -> str:
    """The command that sets an iteration count by hand."""
    path, kind = _named(target)
    if kind is not None and record(kind).write is None:
        return record(kind).unwritable
    given = ["--into", path, "--iterations", str(count), *options, "--output", output_for(path, kind)]
    return _shell(["ckptdoctor", "graft", *given])


def strip_of(evidence: Evidence) -> str:
    """The command that writes it without optimizer state; where there is none, why, or how it is saved so."""
    path, kind = _named(evidence)
    if kind is None or record(kind).strip is None:
        return record(kind).release_hint if kind is not None else ""
    return _shell(["ckptdoctor", "strip", path, "--output", output_for(path, kind, "release")])


def repair_of(target: str | Evidence, fix: str, *options: str) -> str:
    """The command that mends what a fix is for."""
    path, kind = _named(target)
    return _shell(
        ["ckptdoctor", "repair", path, "--fix", fix, *options, "--output", output_for(path, kind, "repaired")]
    )


def repair_beside(evidence: Evidence) -> str:
    """The command that mends the file that names the latest checkpoint, in the directory that it is in."""
    directory = evidence.path if evidence.run is not None else os.path.dirname(evidence.path.rstrip("/")) or "."
    return _shell(["ckptdoctor", "repair", directory, "--fix", "state-file", "--in-place"])


def _named(target: str | Evidence) -> tuple[str, Format | None]:
    if isinstance(target, str):
        return target, None
    return target.path, target.state.format if target.state is not None else None


def _shell(words: list[str]) -> str:
    """A command as a shell takes it: names that cannot be shown are quoted by their bytes."""
    return " ".join(shlex.quote(word) if word.isprintable() else _by_bytes(word) for word in words)


_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\")


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
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    found = re.search(_NUMBER, name)
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
