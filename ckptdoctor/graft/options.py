"""What the user asks of a graft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.state import Generation

PARTS = ("iterations", "slots", "hyperparameters")


class Options(NamedTuple):
    """A request.

    Attributes:
        only: Parts that are taken from the donor; all of them by default.
        optimizer: Which optimizer, where an artifact has several: its name, or a part of it.
        mapping: Donor variable → target variable; whole paths, or prefixes that end in `/`.
        partial: Leave variables without a match in a fresh state instead of refusing.
        generation: The generation to write where the target has no optimizer, or to convert to.
        optimizer_class: The class, for a dump whose target names none.
        iterations: Set the count by hand.
        link: Share unchanged data files.
    """

    only: frozenset[str] = frozenset(PARTS)
    optimizer: str | None = None
    mapping: Mapping[str, str] = {}
    partial: bool = False
    generation: Generation | None = None
    optimizer_class: str | None = None
    iterations: int | None = None
    link: bool = False
