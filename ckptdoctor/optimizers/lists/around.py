"""Optimizers around optimizers: the lists of Keras 3's LossScaleOptimizer and MultiOptimizer, by how they begin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckptdoctor.references import TensorRef
from ckptdoctor.state import OtherVariable, Scalar, Wrapper

MULTI = "MultiOptimizer"
"""Several optimizers in one list: its own count and learning rate (0.0), then each inner list."""
_OWN = ("iteration", "learning_rate", "step_counter", "dynamic_scale")
_UNBUILT = 4
"""Two counts and two learning rates: the wrapper's and the inner optimizer's."""


def own_length(front: Sequence[bool | None]) -> int:
    """How many elements at the front of a list are a LossScaleOptimizer's own; 0 if there is none around.

    They are its own count (never advanced), learning rate (0.0), step counter and scale; the inner optimizer's whole
    list follows, which begins with a count again. `mixed_float16` wraps without telling the configuration, so that the
    pattern has to do: no optimizer's own list has whole numbers at 0, 2 and 4 and other scalars between them.

    Args:
        front: Of each of the first elements: True for a whole number, False for another scalar, None for an array.
    """
    return len(_OWN) if list(front[:5]) == [True, False, True, False, True] else 0


def is_unbuilt(kinds: Sequence[bool | None]) -> bool:
    """Whether a list is a LossScaleOptimizer's that was compiled and never built: two elements are its own."""
    return len(kinds) == _UNBUILT and list(kinds) == [True, False, True, False]


def is_multi(front: Sequence[bool | None], rate: object) -> bool:
    """Whether a list is a MultiOptimizer's, by its first elements and the value of the second."""
    return len(front) > _UNBUILT and list(front[:3]) == [True, False, True] and rate == 0


def loss_scale(
    own: Iterable[tuple[TensorRef | None, Scalar | None]],
    class_name: str = "LossScaleOptimizer",
    *,
    configured: bool = True,
) -> Wrapper:
    """The wrapper that a list begins with.

    Args:
        own: Its elements and their values.
        class_name: Its class.
        configured: Whether the artifact's configuration names it.
    """
    held = tuple(
        OtherVariable(label, tensor, value)
        for label, (tensor, value) in zip(_OWN, own, strict=False)
        if tensor is not None
    )
    scale = next((each.value for each in held if each.name == _OWN[3]), None)
    return Wrapper(class_name, float(scale) if isinstance(scale, (int, float)) else None, held, configured)
