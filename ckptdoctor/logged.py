"""What a program wrote into a checkpoint of how training went: pure frozen data, as `state.py` has it."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A figure by which checkpoints are compared.

    Attributes:
        name: Its name; None where only its value is told, as in `model.03-0.12.keras`.
        value: It.
        source: Where it stands.
    """

    name: str | None
    value: float
    source: str


class Logged(NamedTuple):
    """What a checkpoint tells of the run that it was saved in.

    Attributes:
        epoch: The epoch, a fraction within one.
        metric: How good the model was.
        best: What the program called its best checkpoint, as it wrote the path.
        best_by: Where it did.
    """

    epoch: float | None = None
    metric: Metric | None = None
    best: str | None = None
    best_by: str = ""
