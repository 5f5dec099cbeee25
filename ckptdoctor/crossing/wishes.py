"""What a user says by hand where an artifact does not tell it."""

from collections.abc import Mapping
from typing import NamedTuple


class Wishes(NamedTuple):
    """What a translation may need to be told.

    Attributes:
        learning_rate: The constant learning rate.
        iterations: The count.
        optimizer_class: The class that is wanted, of PyTorch.
        mapping: Variable of the donor → the target's.
    """

    learning_rate: float | None = None
    iterations: int | None = None
    optimizer_class: str | None = None
    mapping: Mapping[str, str] = {}
