"""Wording that every report for people shares: formats, sizes, figures, the rows of a slot table."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.containers.tensors.dtypes import nbytes
from ckptdoctor.diagnosis.status import covered
from ckptdoctor.state import OptimizerState

_KILO = 1000


def human_bytes(count: int) -> str:
    """`104 B`, `1.5 MB`: decimal units, as disks and `ls -h --si` count."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < _KILO:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KILO
    return f"{size:.1f} TB"


def figure(value: object) -> str:
    """A number as people write it, six significant digits at most."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def worth_showing(hyperparameters: Mapping[str, object]) -> list[tuple[str, object]]:
    """The hyperparameters that are in force: not what is switched off, nor the details of what is."""
    averaged = hyperparameters.get("use_ema") is True
    return [
        (name, value) for name, value in hyperparameters.items() if value and (averaged or not name.startswith("ema_"))
    ]


def brief(value: float | None) -> str:
    """A figure of a tensor: counts as they are, the rest with four significant digits."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def shape_text(shape: tuple[int, ...]) -> str:
    """`3x4`, or `scalar`."""
    return "x".join(map(str, shape)) if shape else "scalar"


class SlotRow(NamedTuple):
    """One kind of slot: how many variables have it, of how many that should, and its bytes."""

    name: str
    role: str
    have: int
    total: int
    size: int


def slot_rows(optimizer: OptimizerState) -> list[SlotRow]:
    """One row for each kind of slot, in order of appearance."""
    rows: dict[str, tuple[str, int, int, int]] = {}
    for slot in optimizer.slots:
        role, have, lacking, size = rows.get(slot.name, (slot.role.value, 0, 0, 0))
        rows[slot.name] = (role, have + 1, lacking, size + nbytes(slot.tensor))
    for each in optimizer.missing:
        role, have, lacking, size = rows.get(each.name, (each.role.value, 0, 0, 0))
        rows[each.name] = (role, have, lacking + 1, size)
    return [SlotRow(name, role, have, have + lacking, size) for name, (role, have, lacking, size) in rows.items()]


__all__ = ["SlotRow", "covered", "figure", "human_bytes", "shape_text", "slot_rows"]


_COMMAND = re.compile(r"(?:^|(?<=: ))ckptdoctor .*?(?=; |$)")


def hint_parts(hint: str) -> tuple[str, str, str]:
    """A hint as the words before a command, the command, and the words after it; without one, all are words."""
    found = _COMMAND.search(hint)
    return (hint[: found.start()], found[0], hint[found.end() :]) if found else (hint, "", "")
