"""What a writer answers: how much it wrote, and what the user must know to load it."""

from __future__ import annotations

from typing import NamedTuple


class Written(NamedTuple):
    """The result of writing an artifact with another's optimizer state.

    Attributes:
        notes: A sentence each: the call that restores the state, and what that call will not do.
        bytes_new: Bytes of optimizer state and of what describes it.
        bytes_copied: Bytes of the target that were copied unchanged.
        bytes_linked: Bytes that the result shares with an input (hard links).
    """

    notes: tuple[str, ...] = ()
    bytes_new: int = 0
    bytes_copied: int = 0
    bytes_linked: int = 0
