"""A run directory as a whole: what its state file says, and what lies there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Member(NamedTuple):
    """A checkpoint or model file of a run directory.

    Attributes:
        name: Its base name (of a checkpoint: of the prefix).
        path: Where it is.
        order: Sorts by when it was saved: the number in its name, then the time of the file.
        family: Artifacts of one family are saved one after another (`ckpt-1`, `ckpt-2`); others are not compared.
        stem: Name without suffix and number: twins share it.
        readable: Whether all of it is there.
        problem: Why not; "" if it is.
        iterations: The optimizer's count; None if it holds none.
        global_step: The counter of that name; None if there is none.
    """

    name: str
    path: str
    order: tuple[int, float]
    family: str
    stem: str
    readable: bool
    problem: str = ""
    iterations: int | None = None
    global_step: int | None = None


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """What lies in a run directory.

    Attributes:
        path: The directory.
        members: Every checkpoint and model file that was looked into.
        latest: What its state file names as the latest; None without a state file.
        latest_name: The latest as a member's name, None if it is not here.
        astray: What the state file lists and is not here.
        temporary: Files of a save that did not end.
        unread: Number of further artifacts that were not looked into.
    """

    path: str
    members: tuple[Member, ...] = ()
    latest: str | None = None
    latest_name: str | None = None
    astray: tuple[str, ...] = ()
    temporary: tuple[str, ...] = ()
    unread: int = 0

    @property
    def checkpoints(self) -> tuple[Member, ...]:
        """The TF checkpoints among the members."""
        return tuple(each for each in self.members if each.family)

    @property
    def newest(self) -> Member | None:
        """The checkpoint that was saved last."""
        return max(self.checkpoints, key=lambda each: each.order, default=None)

    def member(self, name: str | None) -> Member | None:
        """The member of a name."""
        return next((each for each in self.members if each.name == name), None)
