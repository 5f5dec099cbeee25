"""Tables of tensors, in pandas or polars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.tensors.dtypes import nbytes
from ckptdoctor.errors import UsageProblem
from ckptdoctor.references import TensorRef
from ckptdoctor.state import NOTHING, OptimizerState

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

_LIBRARIES = ("pandas", "polars")
_COLUMNS = (
    "kind", "optimizer", "name", "role", "variable", "mapping", "trainable", "key", "shape", "dtype", "size", "nbytes",
)  # fmt: skip
_FIGURES = ("min", "max", "mean", "nan", "inf", "zeros")

Row = dict[str, Any]


def examination(each: Examination, library: str | None = None) -> Any:
    """A row for each variable of the model, each slot, and whatever else the optimizers keep.

    Args:
        each: With figures, where it was examined with `stats=True`.
        library: `pandas` or `polars`; None for the one that is loaded, or else installed.

    Raises:
        UsageProblem: It is neither, or not installed.
    """
    columns = (*_COLUMNS, *_FIGURES) if each.statistics else _COLUMNS
    return _frame(list(_rows(each)), columns, library)


def optimizer(held: OptimizerState, library: str | None = None) -> Any:
    """The same of one optimizer."""
    return _frame(list(_of_optimizer(held, NOTHING)), _COLUMNS, library)


def _rows(each: Examination) -> Iterator[Row]:
    if each.state is None:
        return
    for variable in each.state.variables:
        own = {"kind": "variable", "variable": variable.path, "trainable": variable.trainable}
        yield {**own, **_of_tensor(variable.tensor, each.statistics)}
    for held in each.state.optimizers:
        yield from _of_optimizer(held, each.statistics)


def _of_optimizer(held: OptimizerState, statistics: Any) -> Iterator[Row]:
    for slot in held.slots:
        own = {"kind": "slot", "name": slot.name, "role": slot.role.value, "mapping": slot.mapping}
        yield {**own, "optimizer": held.name, "variable": slot.variable, **_of_tensor(slot.tensor, statistics)}
    for other in held.other:
        yield {"kind": "other", "optimizer": held.name, "name": other.name, **_of_tensor(other.tensor, statistics)}


def _of_tensor(ref: TensorRef, statistics: Any) -> Row:
    figures = statistics.get(ref)
    row: Row = {
        "key": ref.key, "shape": list(ref.shape), "dtype": ref.dtype, "size": ref.size, "nbytes": nbytes(ref)
    }  # fmt: skip
    return row if figures is None else {**row, **figures._asdict()}


def _frame(rows: list[Row], columns: tuple[str, ...], library: str | None) -> Any:
    made = import_module(_chosen(library))
    return made.DataFrame({name: [row.get(name) for row in rows] for name in columns})


def _chosen(library: str | None) -> str:
    if library is not None and library not in _LIBRARIES:
        raise UsageProblem(f"{library!r} is no library of tables: give pandas or polars")
    wanted = _LIBRARIES if library is None else (library,)
    for name in wanted:
        if sys.modules.get(name) is not None:
            return name
    for name in wanted:
        if name not in sys.modules and find_spec(name) is not None:
            return name
    raise UsageProblem(f"to_frame needs {' or '.join(wanted)}, which is not installed")
