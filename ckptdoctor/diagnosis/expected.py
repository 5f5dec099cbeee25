"""What a policy asks of an artifact, and how an artifact's purpose weighs the rules."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.state import NOTHING


class Purpose(str, Enum):
    """What an artifact is for."""

    RESUMABLE = "resumable"
    """Training goes on from it: its optimizer state has to be there."""
    WEIGHTS_ONLY = "weights-only"
    """A release: optimizer state is what should not be there."""


class Part(str, Enum):
    """What `--require` asks for."""

    ITERATIONS = "iterations"
    SLOTS = "slots"
    HYPERPARAMETERS = "hyperparameters"
    WEIGHTS = "weights"


class Expected(NamedTuple):
    """What an artifact has to hold.

    Attributes:
        require: Parts that have to be there.
        min_iterations: The least count of every optimizer; None: any.
        optimizer: The class of every optimizer; None: any.
        named: Name of an optimizer → what is asked of that one in place of the above.
    """

    require: tuple[Part, ...] = ()
    min_iterations: int | None = None
    optimizer: str | None = None
    named: Mapping[str, Mapping[str, object]] = NOTHING


WEIGHED: dict[Purpose, Mapping[str, Severity | None]] = {
    Purpose.RESUMABLE: {},
    Purpose.WEIGHTS_ONLY: {"S": None, "L": None, "V004": None, "V005": None, "P002": Severity.ERROR},
}
"""Code or prefix → severity in place of the rule's own; None: the rule does not apply."""
