"""A row for every tensor of an artifact: what reports list under `--tensors` and `--stats`."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ckptdoctor.references import TensorRef
from ckptdoctor.state import OptimizerState, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.containers.tensors.values import Statistics


class TensorRow(NamedTuple):
    """One tensor.

    Attributes:
        name: What it is called: `hidden/kernel`, `m of hidden/kernel`, `iterations`.
        tensor: The tensor.
    """

    name: str
    tensor: TensorRef

    @property
    def key(self) -> str:
        """The artifact's own name for it, where that is another one."""
        key = self.tensor.key
        return "" if key == self.name or self.name.endswith(f" of {key}") else key


def tensor_rows(state: TrainingState) -> Iterator[TensorRow]:
    """The model's variables, each optimizer's state, counters, and what is none of them."""
    for variable in state.variables:
        yield TensorRow(variable.path, variable.tensor)
    for optimizer in state.optimizers:
        yield from _of_optimizer(optimizer, several=len(state.optimizers) > 1)
    for name, ref in state.counter_tensors.items():
        yield TensorRow(name, ref)
    for ref in state.others:
        yield TensorRow(ref.key, ref)


def _of_optimizer(optimizer: OptimizerState, *, several: bool) -> Iterator[TensorRow]:
    whose = f" of {optimizer.name}" if several and optimizer.name else ""
    if optimizer.iterations_tensor is not None:
        yield TensorRow(f"iterations{whose}", optimizer.iterations_tensor)
    for slot in optimizer.slots:
        yield TensorRow(f"{slot.name} of {slot.variable or slot.tensor.key}", slot.tensor)
    for other in optimizer.other:
        yield TensorRow(f"{other.name}{whose}", other.tensor)
    if optimizer.wrapper is not None:
        for other in optimizer.wrapper.variables:
            yield TensorRow(f"{other.name} of {optimizer.wrapper.class_name}{whose}", other.tensor)


def figure_columns(found: "Iterable[Statistics | None]") -> tuple[str, ...]:
    """The figures worth a column: not those that would be nothing but zeros."""
    known = [each for each in found if each is not None]
    rare = (name for name in ("nan", "inf") if any(getattr(each, name) for each in known))
    return ("min", "max", "mean", "zeros", *rare)
